/**
 * Decides which instances this process runs: takes the lease of every enabled instance that nobody runs, runs a session
 * under each lease it has, and gives a lease back when its session was put down in peace.
 *
 * Promises: one session per lease, which ends with it; after `stop` nothing runs and every lease was given back, so the next
 * holder is up in seconds. What is found at start connects a few at a time; what is taken over later connects at once. How many
 * it takes and which it hands over is decided by place-numbers.ts.
 */
import { assertNever } from '../../kernel/assert-never.js'
import { type InstanceId, idFromColumn, publicId } from '../../kernel/ids.js'
import { errorText } from '../../kernel/logger.js'
import type { Service } from '../../kernel/service.js'
import type {
  Incarnation,
  Lease,
  LeaseTerms,
  LossReason,
  ReleaseReason,
  Resource,
} from '../../platform/leases/lease.js'
import type { LeaseKeeper, LeaseKeeperOptions } from '../../platform/leases/lease-keeper.js'
import type { LeaseStore } from '../../platform/leases/lease-store.port.js'
import { record } from '../events/record.js'
import { createLastSeen } from './last-seen.js'
import { leaveInTurns } from './leave-in-turns.js'
import { createPlacement } from './place-numbers.js'
import type { Closing } from './reconnect-state.js'
import { createSession, type Session, type SessionEnd } from './session.js'
import type { SessionDeps } from './session-deps.js'
import { findNeglected, findWantedResources } from './session-store.js'
import { createStartGate } from './start-gate.js'
import { within } from './within.js'

export interface SupervisorOptions extends SessionDeps {
  readonly leases: { readonly store: LeaseStore; readonly holder: Incarnation; readonly terms: LeaseTerms }
  readonly createKeeper: (options: LeaseKeeperOptions) => LeaseKeeper
  readonly rehydration?: Partial<Rehydration>
  /** Instances that this process holds at most. Default: no limit. */
  readonly capacity?: number
  /** Gateway processes of this replica. Default: 1. */
  readonly siblings?: number
  /** How long `stop` waits for sessions to end in peace, in ms. */
  readonly drainMs?: number
}

/** How instances that are found at start connect. */
export interface Rehydration {
  readonly concurrency: number
  /** At least this between two starts (REHYDRATE_STAGGER_MS). */
  readonly staggerMs: number
  readonly jitterMs: number
}

export interface Supervisor extends Service {
  /** For health and metrics. */
  count(): { readonly held: number; readonly open: number }
}

const DEFAULT_REHYDRATION: Rehydration = { concurrency: 8, staggerMs: 0, jitterMs: 250 }
const BEGIN_PATIENCE_MS = 20_000
const DEFAULT_DRAIN_MS = 15_000
/** Those that left in the last turn have at least so long to end in peace, of a drain of 15 s. */
const LAST_TURN_SHARE = 1 / 3
const FOLLOW_UP_MS = 400
/** After the drain the leases are taken away; what still runs then only cuts its sockets. */
const CUT_MS = 2_000

export function createSupervisor(options: SupervisorOptions): Supervisor {
  const { db, clock, random, ids, logger, leases, capacity = Number.POSITIVE_INFINITY } = options
  const { drainMs = DEFAULT_DRAIN_MS, replica = '', siblings = 1 } = options
  const gate = createStartGate({
    ...DEFAULT_REHYDRATION,
    ...options.rehydration,
    clock,
    random,
    patienceMs: BEGIN_PATIENCE_MS,
  })
  const lastSeen = createLastSeen({ db, clock })
  /** By instance id. */
  const sessions = new Map<string, Session>()
  const running = new Set<Promise<void>>()
  /** Monotonic ms. */
  const heldSince = new WeakMap<Session, number>()
  const resumes = new Map<InstanceId, Closing>()
  /** Those that are to be handed over, and why. */
  const leaving = new Map<Resource, ReleaseReason>()
  const placement = createPlacement({
    ...{ db, self: leases.holder, terms: leases.terms, replica, capacity, siblings, clock },
  })
  let isFollowingUp = false
  let isWarm = false
  const stopping = new AbortController()
  /** Found at start and not begun yet, here or elsewhere. */
  let rehydrating: Set<Resource> | undefined
  const unlisten: (() => Promise<void>)[] = []
  let ticking: Promise<void> | undefined

  const keeper = options.createKeeper({
    ...leases,
    clock,
    random,
    logger,
    async wanted() {
      const resources = await findWantedResources(db)
      rehydrating ??= new Set(resources)
      if (resources.length > 0) warmUp()
      await placement.look(resources)
      if (!stopping.signal.aborted) handOver()
      return resources
    },
    mayAcquire(resource, how) {
      const id = instanceOf(resource)
      // A session whose lease was lost may still be ending: its socket must be gone before the next one connects.
      if (stopping.signal.aborted || sessions.has(id)) return false
      const may = placement.mayTake(resource, { held: sessions.size, isOwn: how === 'own' || resumes.has(id) })
      void followUp()
      return may
    },
    onAcquired(lease) {
      begin(lease)
      placement.taken(lease.resource)
    },
    onMissed: placement.missed,
    onLost: (lease, reason) => void tellLost(lease, reason),
    onRemote({ resource }) {
      rehydrating?.delete(resource)
      placement.elsewhere(resource)
    },
    onUnwanted,
  })

  return { start, stop, count }

  async function start(): Promise<void> {
    unlisten.push(await db.listen('mirante_instance', onInstanceChanged, pokeAll))
    unlisten.push(await db.listen('mirante_command', onCommand))
    unlisten.push(await db.listen('mirante_lease', () => keeper.poke()))
    await keeper.start()
    ticking ??= tick()
  }

  async function stop(): Promise<void> {
    stopping.abort()
    const until = clock.mono() + drainMs
    await ticking
    const inTurns = leaveInTurns({
      ...{ db, clock, self: leases.holder, sessions: [...sessions.values()] },
      hasTakers: placement.hasTakers,
      withinMs: drainMs,
    })
    // It asks the database, which may not answer.
    await within(clock, drainMs, inTurns).catch(() => {})
    for (const session of sessions.values()) session.drain()
    for (const end of unlisten.splice(0)) await end().catch(() => {})
    await within(clock, Math.max(until - clock.mono(), drainMs * LAST_TURN_SHARE), Promise.all(running)).catch(() => {
      logger.warn('SESSION', 'sessions did not end in time; cutting them', { sessions: running.size })
    })
    await keeper.stop()
    await within(clock, CUT_MS, Promise.all(running)).catch(() => {})
  }

  function count() {
    return { held: sessions.size, open: [...sessions.values()].filter(({ isOpen }) => isOpen).length }
  }

  /** A number that comes from another gateway should not be silent while this one reads and compiles its provider's library. */
  function warmUp(): void {
    if (isWarm) return
    isWarm = true
    for (const provider of options.providers.values()) {
      provider.warmUp?.().catch((error: unknown) => {
        logger.warn('SESSION', 'a provider could not be loaded ahead', { error: errorText(error) })
      })
    }
  }

  // Beginning and ending sessions

  function begin(lease: Lease): void {
    const instanceId = instanceOf(lease.resource)
    const resume = resumes.get(instanceId)
    resumes.delete(instanceId)
    const isRehydration = rehydrating?.delete(lease.resource) ?? false
    const session = createSession(options, {
      lease,
      instanceId,
      resume,
      enter: isRehydration ? gate.enter : async () => () => {},
      onAlive: () => lastSeen.note(lease, instanceId),
    })
    sessions.set(instanceId, session)
    heldSince.set(session, clock.mono())
    const over = session.ended.then((end) => finish(session, end)).finally(() => running.delete(over))
    running.add(over)
    if (stopping.signal.aborted) session.drain()
  }

  async function finish(session: Session, ending: SessionEnd): Promise<void> {
    const { resource, signal } = session.lease
    const isHandedOver = ending.end === 'released' && !signal.aborted && leaving.has(resource)
    await giveUp(session, ending)
    if (isHandedOver) placement.released(resource)
    else placement.kept(resource)
    leaving.delete(resource)
    if (sessions.get(session.instanceId) === session) sessions.delete(session.instanceId)
    // Its owner may have enabled it again while it was being put down, and a lost lease may be free to take: not until now.
    if (ending.end === 'released' || ending.end === 'lost') keeper.poke()
  }

  async function giveUp({ lease, instanceId }: Session, ending: SessionEnd): Promise<void> {
    switch (ending.end) {
      case 'released':
        if (!lease.signal.aborted)
          await keeper.release(
            lease.resource,
            stopping.signal.aborted ? 'stopped' : (leaving.get(lease.resource) ?? 'unwanted'),
          )
        return
      case 'lost':
        return
      case 'fenced':
        return keeper.forfeit(lease, 'fenced')
      case 'uncertain':
        resumes.set(instanceId, ending.resume)
        return keeper.forfeit(lease, 'uncertain_write')
      default:
        return assertNever(ending)
    }
  }

  // Keeping to this gateway's share

  function handOver(): void {
    const held = Array.from(sessions.values(), (session) => {
      return { lease: session.lease, isPairing: session.isPairing, heldSince: heldSince.get(session) ?? clock.mono() }
    })
    for (const { lease, why } of placement.handOvers(held)) {
      logger.info('LEASE', 'handing a number over', { resource: lease.resource, why })
      leaving.set(lease.resource, why)
      sessions.get(instanceOf(lease.resource))?.drain()
    }
    void followUp()
  }

  /** While numbers are between two holders, the leases are looked at more often. */
  async function followUp(): Promise<void> {
    if (isFollowingUp) return
    isFollowingUp = true
    while (placement.isBusy && !stopping.signal.aborted) {
      await clock.sleep(FOLLOW_UP_MS, stopping.signal).catch(() => {})
      keeper.poke()
    }
    isFollowingUp = false
  }

  function onUnwanted(lease: Lease): void {
    const session = sessions.get(instanceOf(lease.resource))
    if (session) session.poke()
    else void keeper.release(lease.resource, 'unwanted')
  }

  /** For the trace. The new holder's own event says that it has taken over. */
  async function tellLost(lease: Lease, reason: LossReason): Promise<void> {
    const session = sessions.get(instanceOf(lease.resource))
    if (!session?.tenantId) return
    const { tenantId, instanceId } = session
    const data = { instanceId: publicId('ins', instanceId), epoch: String(lease.epoch), reason }
    const event = {
      id: ids.next('evt'),
      tenantId,
      type: 'lease.lost',
      instanceId,
      subjectId: instanceId,
      data,
    } as const
    await db
      .tx((tx) => record(tx, [event]))
      .catch((error: unknown) => logger.warn('LEASE', 'a lost lease was not recorded', { error: errorText(error) }))
  }

  // Noticing what others did

  function onInstanceChanged(instanceId: string): void {
    sessions.get(instanceId)?.poke()
    keeper.poke()
  }

  function onCommand(instanceId: string): void {
    sessions.get(instanceId)?.poke()
  }

  function pokeAll(): void {
    keeper.poke()
    for (const session of sessions.values()) session.poke()
  }

  /** A lost notification costs at most one tick. */
  async function tick(): Promise<void> {
    while (!stopping.signal.aborted) {
      await clock.sleep(leases.terms.pollEveryMs * (0.9 + 0.2 * random()), stopping.signal).catch(() => {})
      try {
        if (stopping.signal.aborted || sessions.size === 0) continue
        const held = Array.from(sessions.values(), ({ instanceId }) => instanceId)
        for (const id of await findNeglected(db, held)) sessions.get(id)?.poke()
        await lastSeen.flush()
      } catch (error) {
        logger.warn('SESSION', 'the instances could not be looked at', { error: errorText(error) })
      }
    }
  }
}

const instanceOf = (resource: Resource): InstanceId => idFromColumn('ins', resource.slice(resource.indexOf(':') + 1))
