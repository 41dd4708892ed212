/**
 * Which gateway should hold how many numbers. Pure rules: leases decide who holds what, and these only say who tries, and who
 * lets go.
 *
 * The numbers are shared evenly among the gateways that take any, each up to its capacity; what does not divide goes to those
 * that hold most already, so that nothing moves that need not. Everybody computes the same shares from the same rows, and is
 * corrected by the next look where rows have changed meanwhile.
 */
import type { Incarnation, LeaseTerms } from '../../platform/leases/lease.js'

/** A gateway that is alive and has reported lately. */
export interface GatewayLoad {
  readonly id: Incarnation
  readonly replica: string
  readonly held: number
  readonly capacity: number
  /** Not stopping, and its replica not drained. */
  readonly takes: boolean
  /** Since the start of its process, by the clock of the database. */
  readonly ageMs: number
}

export interface BalanceTerms {
  /** A gateway this young is left to itself: one that dies again and again should not be given numbers each time. */
  readonly settleMs: number
  /** A number stays at least this long before it is moved for the balance again. */
  readonly stayMs: number
  /** A free number is left to those below their share for this long; then whoever has room takes it. */
  readonly leaveMs: number
  /** The same for one that an operator gave to another replica. */
  readonly leaveMovedMs: number
  /** Numbers of one gateway that are between two holders at once. */
  readonly atOnce: number
  /** How long no number is handed over after one that nobody took; it doubles from refusal to refusal. */
  readonly pauseMs: number
  readonly maxPauseMs: number
}

/** For a TTL of 45 s: settle in 10 s, stay for 30 s, pause for 30 s to 10 min. */
export const balanceTerms = ({ ttlMs, goneMs }: LeaseTerms): BalanceTerms => ({
  settleMs: (ttlMs * 2) / 9,
  stayMs: (ttlMs * 2) / 3,
  leaveMs: goneMs,
  leaveMovedMs: 5_000,
  atOnce: 4,
  pauseMs: (ttlMs * 2) / 3,
  maxPauseMs: 600_000,
})

/** How many each of those that take numbers should hold, of `wanted` in all. Their sum is `wanted`, or all the room there is. */
export function sharesOf(gateways: readonly GatewayLoad[], wanted: number): ReadonlyMap<Incarnation, number> {
  const shares = new Map<Incarnation, number>()
  let open = gateways.filter(({ takes }) => takes)
  let left = wanted
  for (;;) {
    // Whoever has less room than an even part is filled, and the others share the rest.
    const level = left / open.length
    const full = open.filter(({ capacity }) => capacity <= level)
    if (full.length === 0) break
    for (const { id, capacity } of full) {
      shares.set(id, capacity)
      left -= capacity
    }
    open = open.filter((gateway) => !full.includes(gateway))
  }
  const even = open.length === 0 ? 0 : Math.floor(left / open.length)
  const rest = left - even * open.length
  const fullest = [...open].sort((one, other) => other.held - one.held || (one.id < other.id ? -1 : 1))
  for (const [rank, { id }] of fullest.entries()) shares.set(id, rank < rest ? even + 1 : even)
  return shares
}

/** Numbers that this gateway may take now without leaving them to others first. Negative: it holds too many. */
export function roomOf(self: Incarnation, gateways: readonly GatewayLoad[], wanted: number): number {
  const held = gateways.find(({ id }) => id === self)?.held ?? 0
  return (sharesOf(gateways, wanted).get(self) ?? 0) - held
}

/**
 * Numbers that this gateway should hand over: what it holds beyond its share, as far as others lack it and do not find it
 * free already. What nobody has room for stays where it is, whatever an operator drains.
 */
export function surplusOf(
  self: Incarnation,
  gateways: readonly GatewayLoad[],
  { wanted, settleMs }: { readonly wanted: number; readonly settleMs: number },
): number {
  const counted = gateways.filter(({ id, ageMs }) => id === self || ageMs >= settleMs)
  const shares = sharesOf(counted, wanted)
  const lackOf = ({ id, held }: GatewayLoad) => Math.max(0, (shares.get(id) ?? 0) - held)
  const lacking = counted.filter(({ id }) => id !== self).reduce((sum, gateway) => sum + lackOf(gateway), 0)
  const free = Math.max(0, wanted - gateways.reduce((sum, { held }) => sum + held, 0))
  const mine = counted.find(({ id }) => id === self)
  return Math.max(0, Math.min((mine?.held ?? 0) - (shares.get(self) ?? 0), lacking - free))
}
