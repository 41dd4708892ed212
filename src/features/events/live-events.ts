/**
 * The tenant's events as they happen, for any number of streams of this process.
 *
 * Promises: a stream gets every event after its position exactly once and in sequence, whoever records at the same time,
 * and may go on elsewhere from the last position that it saw. One listener and one query per wake-up serve all streams: it
 * reads on from the position of each tenant's slowest stream, and each takes what it has not seen. Positions are exact
 * because the sequence is taken under a row lock that lasts until the commit: nothing is ever committed below a position
 * that was read.
 */
import type { Clock } from '../../kernel/clock.js'
import type { TenantId } from '../../kernel/ids.js'
import { errorText, type Logger } from '../../kernel/logger.js'
import type { Random } from '../../kernel/random.js'
import type { Service } from '../../kernel/service.js'
import type { Database } from '../../platform/database/database.js'
import { lastSequence, listEventsAfter, type StoredEvent } from './event-store.js'
import type { EventView, ShowEvents } from './event-view.js'

export interface LiveStream {
  readonly tenantId: TenantId
  /** Where it begins: what the other side goes on from when the stream breaks before the first event. */
  begin?(position: bigint): void
  /** Which events it wants. Pure. */
  wants(event: StoredEvent): boolean
  /** False when the stream is over: the other side has gone, or was so far behind that it was cut off. */
  send(view: EventView): boolean
  /** Resolves when what was sent is on its way, or when the stream is over: the past is sent no faster than it is read. */
  drained(): Promise<void>
  /** Aborted when the other side has gone. */
  readonly closed: AbortSignal
}

export interface LiveEvents extends Service {
  /** Aborted when the service stops: streams should end. */
  readonly stopping: AbortSignal
  /**
   * Sends what follows the position (or what is recorded from now on), and goes on until the stream closes or the service
   * stops, or the database fails: the other side comes again with its position. Resolves when it has ended.
   */
  follow(stream: LiveStream, after: bigint | 'now'): Promise<void>
  /** Resolves when an event that is wanted was recorded after the position, the time is over, or the signal aborts. */
  next(wanted: Pick<LiveStream, 'tenantId' | 'wants'>, options: NextOptions): Promise<void>
}

export interface NextOptions {
  readonly after: bigint
  readonly timeoutMs: number
  readonly signal: AbortSignal
}

export interface LiveEventsDeps {
  readonly db: Database
  readonly show: ShowEvents
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
}

const PAGE = 200
/** A lost notification costs at most this much, in ms. */
const SWEEP_EVERY_MS = 5_000
const PAUSE_AFTER_FAILURE_MS = 1_000

/** A stream and how far it is. */
interface Follower {
  readonly stream: LiveStream
  position: bigint
  /** Present while it has read the past and lives on wake-ups. */
  stopLiving?: (() => void) | undefined
}

export function createLiveEvents({ db, show, clock, random, logger }: LiveEventsDeps): LiveEvents {
  const stop = new AbortController()
  const followers = new Map<TenantId, Set<Follower>>()
  /** Tenants whose events must be looked at. */
  const awake = new Set<TenantId>()
  let pumping: Promise<void> | undefined
  let sweeping: Promise<void> | undefined
  let stopListening: (() => Promise<void>) | undefined

  return {
    stopping: stop.signal,
    follow,
    next,
    async start() {
      stopListening = await db.listen('mirante_event', (payload) => wake(payload as TenantId), wakeAll)
      sweeping = sweep()
    },
    async stop() {
      stop.abort()
      for (const ofTenant of followers.values()) for (const { stopLiving } of ofTenant) stopLiving?.()
      await stopListening?.()
      stopListening = undefined
      await Promise.all([sweeping, pumping])
    },
  }

  async function follow(stream: LiveStream, after: bigint | 'now'): Promise<void> {
    try {
      const start = await startOf(stream, after)
      stream.begin?.(start)
      await followFrom(stream, start)
    } catch (error) {
      logger.warn('HTTP', 'a live stream ended early', { error: errorText(error) })
    }
  }

  async function next(
    wanted: Pick<LiveStream, 'tenantId' | 'wants'>,
    { after, timeoutMs, signal }: NextOptions,
  ): Promise<void> {
    const over = new AbortController()
    const end = (): void => over.abort()
    signal.addEventListener('abort', end, { once: true })
    if (signal.aborted) end()
    void clock.sleep(timeoutMs, over.signal).then(end, () => {})
    // The first one is enough: a stream that takes no more is over.
    const send = (): boolean => {
      end()
      return false
    }
    await follow({ ...wanted, send, drained: async () => {}, closed: over.signal }, after)
    end()
    signal.removeEventListener('abort', end)
  }

  async function startOf({ tenantId }: LiveStream, after: bigint | 'now'): Promise<bigint> {
    const head = await lastSequence(db, tenantId)
    // A position beyond the newest event was never given out by this database.
    return after === 'now' || after > head ? head : after
  }

  async function followFrom(stream: LiveStream, position: bigint): Promise<void> {
    const follower = join(stream, position)
    try {
      await catchUp(follower)
      await live(follower)
    } finally {
      leave(follower)
    }
  }

  function isOver({ closed }: LiveStream): boolean {
    return closed.aborted || stop.signal.aborted
  }

  async function catchUp(follower: Follower): Promise<void> {
    const { stream } = follower
    const { tenantId } = stream
    for (let more = true; more && !isOver(stream); ) {
      const page = await listEventsAfter(db, [{ tenantId, after: follower.position }], PAGE)
      const wanted = page.filter((event) => stream.wants(event))
      for (const view of await show(tenantId, wanted)) {
        if (!stream.send(view)) return
        await stream.drained()
      }
      follower.position = page.at(-1)?.seq ?? follower.position
      more = page.length === PAGE
    }
  }

  /** Resolves when the stream is over. */
  function live(follower: Follower): Promise<void> {
    return new Promise((resolve) => {
      follower.stopLiving = () => {
        follower.stopLiving = undefined
        resolve()
      }
      if (isOver(follower.stream)) follower.stopLiving()
      // What was committed after the last page was read.
      else wake(follower.stream.tenantId)
    })
  }

  function join(stream: LiveStream, position: bigint): Follower {
    const follower: Follower = { stream, position }
    const ofTenant = followers.get(stream.tenantId) ?? new Set()
    followers.set(stream.tenantId, ofTenant.add(follower))
    stream.closed.addEventListener('abort', () => follower.stopLiving?.(), { once: true })
    return follower
  }

  function leave(follower: Follower): void {
    const { tenantId } = follower.stream
    const ofTenant = followers.get(tenantId)
    ofTenant?.delete(follower)
    if (ofTenant?.size === 0) followers.delete(tenantId)
  }

  function wake(tenantId: TenantId): void {
    if (!followers.has(tenantId) || stop.signal.aborted) return
    awake.add(tenantId)
    pumping ??= pump()
  }

  function wakeAll(): void {
    for (const tenantId of followers.keys()) wake(tenantId)
  }

  /** Until nothing is left to look at. */
  async function pump(): Promise<void> {
    while (awake.size > 0 && !stop.signal.aborted) {
      const tenants = [...awake]
      awake.clear()
      await readOn(tenants).catch((error: unknown) => tryAgain(tenants, error))
    }
    // In the same breath as the last look at `awake`: whoever wakes from now on starts anew.
    pumping = undefined
  }

  /** Followers wait meanwhile; none misses anything. */
  function tryAgain(tenants: readonly TenantId[], error: unknown): void {
    logger.warn('HTTP', 'live events could not be read', { error: errorText(error) })
    void pause(PAUSE_AFTER_FAILURE_MS).then(() => tenants.forEach(wake))
  }

  async function readOn(tenants: readonly TenantId[]): Promise<void> {
    const groups = tenants.flatMap((tenantId) => {
      const live = [...(followers.get(tenantId) ?? [])].filter(({ stopLiving }) => stopLiving)
      return live.length > 0 ? [{ tenantId, live, after: slowest(live) }] : []
    })
    if (groups.length === 0) return
    const events = await listEventsAfter(db, groups, PAGE)
    await Promise.all(
      groups.map(async ({ tenantId, live }) => {
        const ofTenant = events.filter((event) => event.tenantId === tenantId)
        if (ofTenant.length === PAGE) awake.add(tenantId)
        await deliver(tenantId, live, ofTenant).catch((error: unknown) => tryAgain([tenantId], error))
      }),
    )
  }

  /** Brings each of these to the end of the page. The page must begin no later than the first of them stands. */
  async function deliver(tenantId: TenantId, to: readonly Follower[], page: readonly StoredEvent[]): Promise<void> {
    const wanted = page.filter((event) => to.some((follower) => lacks(follower, event)))
    const shown = wanted.length > 0 ? await show(tenantId, wanted) : []
    const views = new Map(shown.map((view) => [BigInt(view.sequence), view]))
    for (const follower of to) {
      for (const event of page) {
        const view = lacks(follower, event) ? views.get(event.seq) : undefined
        if (view && !follower.stream.send(view)) follower.stopLiving?.()
        if (event.seq > follower.position) follower.position = event.seq
      }
    }
  }

  async function sweep(): Promise<void> {
    while (await pause(SWEEP_EVERY_MS * (0.9 + 0.2 * random()))) wakeAll()
  }

  /** False when the service stopped meanwhile. */
  function pause(ms: number): Promise<boolean> {
    return clock.sleep(ms, stop.signal).then(
      () => true,
      () => false,
    )
  }
}

const lacks = ({ position, stream }: Follower, event: StoredEvent): boolean =>
  event.seq > position && stream.wants(event)

/** `Math.min` knows no bigint. */
function slowest(live: readonly Follower[]): bigint {
  const [least = 0n] = live.map(({ position }) => position).sort((left, right) => (left < right ? -1 : 1))
  return least
}
