/**
 * Publishes events to RabbitMQ, for who consumes them there instead of by webhook: an exchange for each tenant, the event's
 * type as the routing key, the same id and the same body as a webhook has.
 *
 * Promises: every public event at least once, confirmed by the broker, those of a tenant in its sequence; it goes on where it
 * was after any death, and after however long the broker was away (as long as events are kept). A repetition begins at the
 * first event that was not confirmed. Does not promise that anybody gets it: an exchange drops what no queue is bound for.
 *
 * One process at a time, under the lease `relay:events`; a stale one may repeat events, and moves no cursor.
 */
import { createBell } from '../../kernel/bell.js'
import type { Clock } from '../../kernel/clock.js'
import { publicId, type TenantId } from '../../kernel/ids.js'
import { errorText, type Logger } from '../../kernel/logger.js'
import type { Service } from '../../kernel/service.js'
import type { Database } from '../../platform/database/database.js'
import { FencedError } from '../../platform/leases/fence.js'
import type { Lease } from '../../platform/leases/lease.js'
import type { Rabbit, RabbitSender } from '../../platform/rabbitmq/rabbit.js'
import { makeBodies } from './bodies.js'
import { isPublic } from './event.js'
import { freezeBodies, listEventsAfter, type StoredEvent } from './event-store.js'
import type { ShowEvents } from './event-view.js'
import { beginSink, findBehind, moveSink, type SinkPosition } from './sink-store.js'

export interface RabbitSinkOptions {
  readonly db: Database
  readonly rabbit: Rabbit
  readonly show: ShowEvents
  /** Runs for the lease; calls back at each election. */
  readonly lead: (onElected: (lease: Lease) => void) => Service
  readonly clock: Clock
  readonly logger: Logger
}

/** Events of one tenant that are read at once. */
const PAGE = 200
const TENANTS_AT_ONCE = 20
/** Events of one tenant on their way at once. */
const MAX_WINDOW = 100
const SWEEP_EVERY_MS = 5_000
const PAUSE_AFTER_FAILURE_MS = 1_000

interface Sent {
  /** Up to where all was confirmed; undefined: nothing was. */
  readonly position: SinkPosition | undefined
  readonly error?: unknown
}

/** Where a tenant's events go; whoever consumes may declare it, too: a durable topic exchange. */
export const exchangeOf = (tenantId: TenantId): string => `mirante.events.${publicId('ten', tenantId)}`

export function createRabbitSink({ db, rabbit, show, lead, clock, logger }: RabbitSinkOptions): Service {
  const stopped = new AbortController()
  const sender = rabbit.sender()
  /** Tenants with news; `everyone` after whatever may have hidden some. */
  const awake = new Set<TenantId>()
  /** It doubles while all goes well and begins at one: whatever follows a refused event must not overtake it again. */
  const windows = new Map<TenantId, number>()
  let everyone = true
  let bell = createBell()
  let running: Promise<void> = Promise.resolve()
  const leadership = lead((lease) => {
    running = running.then(() => serve(lease))
  })
  rabbit.onTakesMessages(wakeAll)

  return {
    start: () => leadership.start(),
    async stop() {
      stopped.abort()
      await running
      await leadership.stop()
    },
  }

  async function serve(lease: Lease): Promise<void> {
    const term = AbortSignal.any([lease.signal, stopped.signal])
    bell = createBell(term)
    windows.clear()
    wakeAll()
    const stopListening = await db.listen('mirante_event', wake, wakeAll).catch(() => undefined)
    const timer = setInterval(wakeAll, SWEEP_EVERY_MS)
    try {
      while (!term.aborted) await step(lease, term)
    } finally {
      clearInterval(timer)
      await stopListening?.()
    }
  }

  function wake(tenantId: string): void {
    awake.add(tenantId as TenantId)
    bell.ring()
  }

  function wakeAll(): void {
    everyone = true
    bell.ring()
  }

  async function step(lease: Lease, term: AbortSignal): Promise<void> {
    try {
      const isDone = !rabbit.takesMessages || !lease.isTrusted() || (await publishSome(lease))
      if (isDone) await bell.rung()
    } catch (error) {
      if (error instanceof FencedError) return bell.rung()
      logger.warn('INFO', 'events could not be published; they wait', { error: errorText(error) })
      everyone = true
      await clock.sleep(PAUSE_AFTER_FAILURE_MS, term).catch(() => {})
    }
  }

  /** Whether that was all. */
  async function publishSome(lease: Lease): Promise<boolean> {
    const tenants = everyone ? 'all' : [...awake]
    everyone = false
    awake.clear()
    await beginSink(db)
    const behind = await findBehind(db, { tenants, limit: TENANTS_AT_ONCE })
    if (behind.length === 0) return true
    const events = await listEventsAfter(db, behind, PAGE)
    const sent = await Promise.all(
      behind.map(({ tenantId }) =>
        publishPage(
          tenantId,
          events.filter((event) => event.tenantId === tenantId),
        ),
      ),
    )
    const moved = sent.flatMap(({ position }) => position ?? [])
    if (moved.length > 0) await moveSink(db, lease, moved)
    const failed = sent.find(({ error }) => error !== undefined)
    if (failed) throw failed.error
    // There may be more of them, or more tenants: the next look finds nothing, or that.
    if (tenants === 'all') everyone = true
    else for (const tenantId of tenants) awake.add(tenantId)
    return false
  }

  async function publishPage(tenantId: TenantId, events: readonly StoredEvent[]): Promise<Sent> {
    let position: SinkPosition | undefined
    try {
      const bodies = await bodiesOf(events)
      if (bodies.size > 0) await rabbit.declareTopic(exchangeOf(tenantId))
      for (let first = 0; first < events.length; ) {
        const window = windows.get(tenantId) ?? 1
        const sending = events.slice(first, first + window)
        const results = await Promise.allSettled(sending.map((event) => publish(event, bodies.get(event.id))))
        const refused = results.findIndex(({ status }) => status === 'rejected')
        const last = sending.at(refused < 0 ? -1 : refused - 1)
        if (last && refused !== 0) position = { tenantId, after: last.seq }
        const outcome = results[refused]
        if (outcome?.status === 'rejected') throw outcome.reason
        windows.set(tenantId, Math.min(window * 2, MAX_WINDOW))
        first += sending.length
      }
      return { position }
    } catch (error) {
      windows.delete(tenantId)
      return { position, error }
    }
  }

  /** Frozen, so that a webhook and another try send the same. Internal events have none. */
  async function bodiesOf(events: readonly StoredEvent[]): Promise<ReadonlyMap<string, string>> {
    const shown = events.filter(({ type }) => isPublic(type))
    const fresh = await makeBodies(show, shown)
    const frozen = fresh.length > 0 ? await freezeBodies(db, fresh) : new Map<string, string>()
    return new Map(shown.map(({ id, body }) => [id, body ?? frozen.get(id) ?? '']))
  }

  async function publish(event: StoredEvent, body: string | undefined): Promise<void> {
    if (body === undefined) return
    await sender.send(...messageOf(event, body, clock.now()))
  }
}

function messageOf(event: StoredEvent, body: string, now: number): Parameters<RabbitSender['send']> {
  const id = publicId('evt', event.id)
  return [
    {
      exchange: exchangeOf(event.tenantId),
      routingKey: event.type,
      contentType: 'application/json',
      messageId: id,
      type: event.type,
      timestamp: Math.floor(event.createdAt.getTime() / 1_000),
      appId: 'mirante',
      headers: {
        'webhook-id': id,
        'webhook-timestamp': String(Math.floor(now / 1_000)),
        'mirante-sequence': String(event.seq),
        ...(event.instanceId && { 'mirante-instance': publicId('ins', event.instanceId) }),
      },
    },
    Buffer.from(body),
  ]
}
