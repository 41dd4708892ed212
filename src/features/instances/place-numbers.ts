/**
 * Keeps this gateway at its share of the numbers: says which free ones it may take now, and which of its own it hands over.
 * A number that is handed over is drained and released, and taken by another gateway at once. What nobody takes is taken back,
 * and then nothing is handed over for a while: a share that cannot be reached is no reason to move numbers to and fro.
 */
import type { Clock } from '../../kernel/clock.js'
import type { Database } from '../../platform/database/database.js'
import type { Incarnation, Lease, LeaseTerms, ReleaseReason, Resource } from '../../platform/leases/lease.js'
import { balanceTerms, type GatewayLoad, roomOf, surplusOf } from './placement.js'
import { findGateways, findMoves, isDrained, type MoveOrder } from './placement-store.js'

export interface PlacementOptions {
  readonly db: Database
  readonly self: Incarnation
  readonly replica: string
  readonly capacity: number
  /** Gateway processes of this replica, which start together with this one. */
  readonly siblings: number
  readonly terms: LeaseTerms
  readonly clock: Pick<Clock, 'mono'>
}

/** A number that this gateway holds. */
export interface HeldNumber {
  readonly lease: Lease
  /** Monotonic ms. */
  readonly heldSince: number
  /** A phone is being linked: it stays. */
  readonly isPairing: boolean
}

export interface HandOver {
  readonly lease: Lease
  readonly why: ReleaseReason
}

export interface Placement {
  /** Looks at the other gateways. `wanted`: the numbers that somebody should hold. */
  look(wanted: readonly Resource[]): Promise<void>
  /** Whether a free number may be taken now. When it says yes, `taken` or `missed` follows. */
  mayTake(resource: Resource, state: { readonly held: number; readonly isOwn: boolean }): boolean
  taken(resource: Resource): void
  missed(resource: Resource): void
  /** Another gateway holds it. */
  elsewhere(resource: Resource): void
  /** What to hand over now: each is named once; `released` or `kept` follows. */
  handOvers(held: readonly HeldNumber[]): HandOver[]
  /** It is free now. */
  released(resource: Resource): void
  /** Its session ended otherwise. */
  kept(resource: Resource): void
  /** Something may have changed in a moment: look again soon. */
  readonly isBusy: boolean
  /** Whether another replica has room now. Rejects as the database does. */
  hasTakers(): Promise<boolean>
}

/** A report is older than this when its process is frozen: sooner than its leases expire. */
const freshMs = ({ trustMs }: LeaseTerms): number => Math.max(5_000, trustMs)
/** Longer than anything is left to others. */
const FORGET_MS = 30_000
/** So long the siblings of a gateway may take to start. */
const SIBLINGS_START_MS = 5_000

export function createPlacement(options: PlacementOptions): Placement {
  const { db, self, replica, capacity, siblings, terms, clock } = options
  const balance = balanceTerms(terms)
  const startedAt = clock.mono()
  let gateways: readonly GatewayLoad[] = []
  let moves = new Map<Resource, MoveOrder>()
  let drained = false
  let wanted = 0
  /** Approved, and being taken. */
  const taking = new Set<Resource>()
  /** Free, and left to others since. */
  const left = new Map<Resource, number>()
  /** Sessions that were told to end. */
  const leaving = new Set<Resource>()
  /** Free by our own doing since, and not seen at anybody yet. */
  const offered = new Map<Resource, number>()
  let pauseMs = balance.pauseMs
  let pausedUntil = 0

  return {
    async look(resources) {
      const [others, orders, isMineDrained] = await Promise.all([
        findGateways(db, freshMs(terms)),
        findMoves(db),
        isDrained(db, replica),
      ])
      gateways = others
      moves = new Map(orders.map((order) => [order.resource, order]))
      drained = isMineDrained
      wanted = resources.length
      const known = new Set(resources)
      for (const free of [left, offered]) {
        for (const [resource, since] of free) {
          // Still free after so long, there is room for it nowhere: that is no reason to look more often.
          if (!known.has(resource) || clock.mono() - since > FORGET_MS) free.delete(resource)
        }
      }
    },
    mayTake(resource, { held, isOwn }) {
      const load = held + taking.size
      if (load >= capacity) return false
      // Its session here ended in doubt, and goes on here: nobody else knows how.
      const may = isOwn || (drained ? offered.has(resource) && waited(resource) : mayTakeNow(resource, load))
      if (may) taking.add(resource)
      return may
    },
    taken(resource) {
      taking.delete(resource)
      left.delete(resource)
      if (offered.delete(resource)) refused()
    },
    missed: (resource) => void taking.delete(resource),
    elsewhere(resource) {
      left.delete(resource)
      if (offered.delete(resource)) pauseMs = balance.pauseMs
    },
    handOvers,
    released(resource) {
      if (leaving.delete(resource)) offered.set(resource, clock.mono())
    },
    kept: (resource) => void leaving.delete(resource),
    get isBusy() {
      return left.size + leaving.size + offered.size > 0
    },
    async hasTakers() {
      const present = await findGateways(db, freshMs(terms))
      return present.some((other) => other.replica !== replica && other.takes && other.held < other.capacity)
    },
  }

  // Taking

  function mayTakeNow(resource: Resource, load: number): boolean {
    const order = moves.get(resource)
    if (order) return isForUs(order) || waited(resource)
    return roomOf(self, withSelf(load), wanted) > 0 || waited(resource)
  }

  function isForUs({ fromHolder, toReplica }: MoveOrder): boolean {
    return fromHolder !== self && (toReplica === null || toReplica === replica)
  }

  /** Whether the others have had their time with it. */
  function waited(resource: Resource): boolean {
    const since = left.get(resource) ?? clock.mono()
    left.set(resource, since)
    return clock.mono() - since >= leaveMs(resource)
  }

  function leaveMs(resource: Resource): number {
    if (moves.has(resource)) return balance.leaveMovedMs
    return missingSiblings() > 0 ? SIBLINGS_START_MS : balance.leaveMs
  }

  // Handing over

  function handOvers(held: readonly HeldNumber[]): HandOver[] {
    const staying = held.filter(({ lease, isPairing }) => !leaving.has(lease.resource) && !isPairing)
    const moved = staying
      .filter(({ lease }) => isOrdered(lease))
      .map(({ lease }): HandOver => ({ lease, why: 'moved' }))
    const rest = staying.filter(({ lease }) => !isOrdered(lease))
    const chosen = [...moved, ...chooseForBalance(rest, held.length)]
    for (const { lease } of chosen) leaving.add(lease.resource)
    return chosen
  }

  function isOrdered({ resource, epoch }: Lease): boolean {
    const order = moves.get(resource)
    return order?.epoch === epoch && order.fromHolder === self
  }

  function chooseForBalance(staying: readonly HeldNumber[], held: number): HandOver[] {
    const now = clock.mono()
    if (now < pausedUntil) return []
    const surplus = surplusOf(self, withSelf(held), { wanted, settleMs: balance.settleMs }) - leaving.size
    const slots = Math.min(surplus, balance.atOnce - leaving.size - offered.size)
    if (slots <= 0) return []
    return staying
      .filter(({ heldSince }) => drained || now - heldSince >= balance.stayMs)
      .sort((one, other) => one.heldSince - other.heldSince)
      .slice(0, slots)
      .map(({ lease }) => ({ lease, why: drained ? 'drained' : 'balanced' }))
  }

  function refused(): void {
    pausedUntil = clock.mono() + pauseMs
    pauseMs = Math.min(pauseMs * 2, balance.maxPauseMs)
  }

  // Helpers

  /** The gateways with what this one knows of itself, and with its siblings that have not reported yet. */
  function withSelf(held: number): readonly GatewayLoad[] {
    const me = { id: self, replica, held, capacity, takes: !drained, ageMs: clock.mono() - startedAt }
    const others = gateways.filter(({ id }) => id !== self)
    const awaited = Array.from({ length: missingSiblings() }, (_, index) => {
      return { ...me, id: `awaited ${index}` as Incarnation, held: 0, ageMs: 0 }
    })
    return [...others, me, ...awaited]
  }

  function missingSiblings(): number {
    if (clock.mono() - startedAt >= SIBLINGS_START_MS) return 0
    const present = gateways.filter((gateway) => gateway.replica === replica && gateway.id !== self).length
    return Math.max(0, siblings - 1 - present)
  }
}
