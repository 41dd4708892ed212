/**
 * Keeps the leases of one process: watches the resources that it is told to want, takes those that are free or abandoned,
 * renews what it holds in one statement, and lets go the moment it may no longer believe in it.
 *
 * Promises: `onAcquired` and `onLost` alternate per resource; a lease whose renewal was sent longer than `trustMs` ago is
 * over, whatever happened to the answer. Does not promise that nobody else acts meanwhile: that is the fence's (fence.ts).
 */
import { randomUUID } from 'node:crypto'
import type { Clock } from '../../kernel/clock.js'
import { errorText, type Logger } from '../../kernel/logger.js'
import type { Random } from '../../kernel/random.js'
import type { Service } from '../../kernel/service.js'
import { alarmsOf, type SetAlarm, within } from './alarm.js'
import { createHeldLeases } from './held-leases.js'
import type {
  Fence,
  Incarnation,
  Lease,
  LeaseRecord,
  LeaseTerms,
  LossReason,
  ReleaseReason,
  Resource,
  TakeHow,
} from './lease.js'
import type { LeaseHint } from './lease-hint.js'
import type { LeaseStore } from './lease-store.port.js'
import { createLeaseWatch, type Takeable } from './lease-watch.js'
import { createNap } from './nap.js'

export interface LeaseKeeperOptions {
  readonly store: LeaseStore
  readonly holder: Incarnation
  readonly terms: LeaseTerms
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  /** What this process would like to hold, asked at each poll. A rejection skips the poll. */
  readonly wanted: () => Promise<readonly Resource[]>
  /** Whether there is room for this one now; when it says yes, `onAcquired` or `onMissed` follows. Default: always. */
  readonly mayAcquire?: (resource: Resource, how: TakeHow) => boolean
  /** The callbacks must not throw, and are not awaited. */
  readonly onAcquired?: (lease: Lease) => void
  /** It could not be taken. */
  readonly onMissed?: (resource: Resource) => void
  /** The lease's signal is aborted already. Not called for a lease that was released. */
  readonly onLost?: (lease: Lease, reason: LossReason) => void
  /** Another living process holds it; called once per holder, not at each poll. */
  readonly onRemote?: (record: LeaseRecord) => void
  /** Spares attempts; decides nothing. Default: every attempt is made. */
  readonly hint?: LeaseHint
  /** At each poll: held, but no longer wanted. Drain, then release. */
  readonly onUnwanted?: (lease: Lease) => void
  readonly newToken?: () => string
  /** Default: alarms of the clock. The explorer has cheaper ones. */
  readonly setAlarm?: SetAlarm
}

export interface LeaseKeeper extends Service {
  held(resource: Resource): Lease | undefined
  leases(): Lease[]
  /** Polls now, or once more after the poll under way. Many pokes make few polls. */
  poke(): void
  /** Looks at this one resource and takes it if it may be taken; resolves to the lease, if held in the end. */
  acquire(resource: Resource): Promise<Lease | undefined>
  /** Ends the lease at once, then frees it in the store. Nothing is to be written under it any more. Never rejects. */
  release(resource: Resource, why: ReleaseReason): Promise<void>
  /**
   * A write under this fence was refused, or its outcome is not known: the lease is over for this process. It stays in the
   * store, and is taken again at the next poll, under a new epoch, if it is still there.
   */
  forfeit(fence: Fence, reason: 'fenced' | 'uncertain_write'): void
}

/** Least time between two polls: pokes that come closer together share one. */
const POKE_GAP_MS = 50
/** Takes under way at once: a failover of hundreds of numbers should not go one by one, nor flood the pool. */
const TAKES_AT_ONCE = 8
/**
 * How long an attempt waits when the hint says that another process is at it, or when the last one got no answer: perhaps the
 * lease is ours by now, and nobody else may take it.
 */
const GIVE_WAY_MS = 300

export function createLeaseKeeper(options: LeaseKeeperOptions): LeaseKeeper {
  const { store, holder, terms, clock, random, logger } = options
  const { hint, newToken = randomUUID, setAlarm = alarmsOf(clock) } = options
  const held = createHeldLeases({ terms, clock, setAlarm, onLost })
  const onRemote = options.onRemote ?? (() => {})
  const watch = createLeaseWatch({ store, self: holder, terms, clock, setAlarm, logger, onRemote })
  /** Being taken or freed: what a poll saw of these is about to change. */
  const changing = new Set<Resource>()
  const acquiring = new Set<Promise<void>>()
  /** Not tried at the last poll, in favour of another process; tried at the next one, whatever the hint says. */
  const givenWay = new Set<Resource>()
  const pollNap = createNap({ clock, setAlarm, onLate: noticeLag })
  const renewNap = createNap({ clock, setAlarm, onLate: noticeLag })
  let running: Promise<unknown> | undefined
  let stopping = false
  let poked = false
  let pollFailed = false
  /** Of a take of the last poll nobody knows whether it was made. */
  let isTakeInDoubt = false

  return {
    async start() {
      running ??= Promise.all([pollForEver(), renewForEver()])
    },
    async stop() {
      stopping = true
      pollNap.end()
      renewNap.end()
      await Promise.all([running, ...acquiring])
      await Promise.all(held.all().map(({ resource }) => release(resource, 'stopped')))
    },
    held: (resource) => held.get(resource),
    leases: () => held.all(),
    poke() {
      poked = true
      pollNap.wake()
    },
    acquire,
    release,
    forfeit: (fence, reason) => void held.end(fence, reason),
  }

  // Watching and taking

  async function pollForEver(): Promise<void> {
    while (!stopping) {
      poked = false
      await pollSafely()
      const polledAt = clock.mono()
      if (!poked) await pollNap.light(pauseMs())
      const earlyMs = polledAt + POKE_GAP_MS - clock.mono()
      if (earlyMs > 0) await pollNap.whole(earlyMs)
    }
  }

  function pauseMs(): number {
    const usual = terms.pollEveryMs + terms.pollJitterMs * (2 * random() - 1)
    if (givenWay.size > 0 || isTakeInDoubt) return Math.min(usual, GIVE_WAY_MS)
    // A timer may ring a little early, and a poll that is early does not count.
    return watch.suspectsDeath() ? Math.min(usual, terms.goneMs + POKE_GAP_MS) : usual
  }

  async function pollSafely(): Promise<void> {
    const gaveWay = [...givenWay]
    isTakeInDoubt = false
    try {
      const wanted = await within(setAlarm, terms.pollTimeoutMs, options.wanted())
      reportUnwanted(new Set(wanted))
      await takeFrom(await watch.look(wanted.filter((resource) => !held.get(resource))))
      if (pollFailed) logger.info('LEASE', 'leases can be read again')
      pollFailed = false
    } catch (error) {
      watch.doubtAll()
      if (!pollFailed) logger.warn('LEASE', 'leases cannot be read; trying on', { error: errorText(error) })
      pollFailed = true
    }
    for (const resource of gaveWay) givenWay.delete(resource)
  }

  function reportUnwanted(wanted: ReadonlySet<Resource>): void {
    watch.keepOnly(wanted)
    for (const lease of held.all()) if (!wanted.has(lease.resource)) options.onUnwanted?.(lease)
  }

  async function takeFrom(records: Takeable[]): Promise<void> {
    shuffle(records, random)
    for (let first = 0; first < records.length; first += TAKES_AT_ONCE) {
      await Promise.all(records.slice(first, first + TAKES_AT_ONCE).map(take))
    }
  }

  async function take(record: Takeable): Promise<void> {
    const { resource, epoch: seenEpoch, renewSeq: seenRenewSeq, how } = record
    if (stopping || changing.has(resource) || held.get(resource)) return
    if (options.mayAcquire && !options.mayAcquire(resource, how)) return
    changing.add(resource)
    const token = newToken()
    try {
      if (!(await mayTry(record, token))) return
      const sentAt = clock.mono()
      const request = { resource, holder, token, seenEpoch, seenRenewSeq, how }
      const epoch = await within(setAlarm, terms.renewTimeoutMs, store.take(request))
      if (epoch === undefined) return hint?.drop(holder, { resource, token })
      const fence = { resource, epoch, token }
      if (stopping) return await free(fence, 'stopped')
      // An answer that took this long (the process stood still) is as good as none: see below.
      if (clock.mono() - sentAt < terms.trustMs - terms.marginMs) hold(fence, sentAt, record)
    } catch (error) {
      // Perhaps taken all the same: then the next poll finds this process as its holder, and takes it again.
      isTakeInDoubt = true
      logger.warn('LEASE', 'taking a lease failed', { resource, error: errorText(error) })
    } finally {
      changing.delete(resource)
      if (!held.get(resource)) options.onMissed?.(resource)
    }
  }

  /** Gives way to another process that is taking it, once: what the hint says may be wrong, or old. */
  async function mayTry({ resource, holder: after }: LeaseRecord, token: string): Promise<boolean> {
    if (!hint || givenWay.delete(resource) || (await hint.claim({ resource, holder, token, after }))) return true
    givenWay.add(resource)
    return false
  }

  function hold(fence: Fence, sentAt: number, { how, holder: before, holderName }: Takeable): void {
    hint?.keep(holder, [fence])
    watch.forgetRemote(fence.resource)
    const lease = held.add(fence, sentAt)
    const from = before === null ? {} : { from: holderName ?? before }
    logger.info('LEASE', 'lease taken', { resource: fence.resource, epoch: String(fence.epoch), how, ...from })
    options.onAcquired?.(lease)
  }

  async function acquire(resource: Resource): Promise<Lease | undefined> {
    if (!stopping && !held.get(resource)) {
      const attempt = watch.look([resource]).then(takeFrom)
      acquiring.add(attempt)
      await attempt.finally(() => acquiring.delete(attempt))
    }
    return held.get(resource)
  }

  // Keeping and letting go

  async function renewForEver(): Promise<void> {
    let failed = false
    while (!stopping) {
      await renewNap.whole(failed ? terms.renewTimeoutMs : terms.renewEveryMs * (1 - 0.1 * random()))
      failed = !stopping && held.size > 0 && !(await renewAll(held.all()))
    }
  }

  /** Whether the store answered. When it does not, each lease lives on until its own trust ends. */
  async function renewAll(leases: readonly Lease[]): Promise<boolean> {
    const sentAt = clock.mono()
    try {
      const ours = await within(setAlarm, terms.renewTimeoutMs, store.renew(holder, leases))
      hint?.keep(
        holder,
        leases.filter(({ resource }) => ours.has(resource)),
      )
      for (const lease of leases) {
        if (ours.has(lease.resource)) held.renewed(lease, sentAt)
        else held.end(lease, 'taken')
      }
      return true
    } catch (error) {
      logger.warn('LEASE', 'renewal failed', { leases: leases.length, error: errorText(error) })
      return false
    }
  }

  async function release(resource: Resource, why: ReleaseReason): Promise<void> {
    const lease = held.get(resource)
    if (!lease) return
    changing.add(resource)
    held.end(lease, 'released')
    logger.info('LEASE', 'lease released', { resource, why })
    await free(lease, why)
    changing.delete(resource)
  }

  async function free(fence: Fence, why: ReleaseReason): Promise<void> {
    // First, so that who hears of the free lease finds no hint against taking it.
    hint?.drop(holder, fence)
    try {
      await within(setAlarm, terms.renewTimeoutMs, store.release(fence, why))
    } catch (error) {
      // Then it is taken over when this process has gone, or after the TTL.
      logger.warn('LEASE', 'releasing a lease failed', { resource: fence.resource, error: errorText(error) })
    }
  }

  function onLost(lease: Lease, reason: LossReason): void {
    logger.warn('LEASE', 'lease lost', { resource: lease.resource, epoch: String(lease.epoch), reason })
    options.onLost?.(lease, reason)
  }

  function noticeLag(lateMs: number): void {
    // What was taken since the sleep should have ended was taken after the standstill: another sleep noticed it first.
    if (lateMs > terms.maxLagMs) held.endOlder(clock.mono() - lateMs, 'stalled')
  }
}

/** Fisher–Yates, in place: processes that see the same free leases should not try them in the same order. */
function shuffle(items: unknown[], random: Random): void {
  for (let last = items.length - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1))
    ;[items[last], items[other]] = [items[other], items[last]]
  }
}
