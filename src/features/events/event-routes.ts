/** The HTTP routes of events: pull by cursor, and live. */
import type { Writable } from 'node:stream'
import type { FastifyRequest } from 'fastify'
import { z } from 'zod'
import { AppError } from '../../kernel/errors.js'
import type { InstanceId, TenantId } from '../../kernel/ids.js'
import type { Database } from '../../platform/database/database.js'
import { draining } from '../../platform/http/draining.js'
import { openEventStream } from '../../platform/http/live.js'
import { type App, idParam, MAX_PAGE } from '../../platform/http/route.js'
import { isPublic, type PublicEventType, publicEventTypes } from './event.js'
import { keptRange, listEvents, type StoredEvent } from './event-store.js'
import type { EventView, ShowEvents } from './event-view.js'
import type { LiveEvents } from './live-events.js'

export interface EventRoutesDeps {
  readonly db: Database
  readonly show: ShowEvents
  readonly live: LiveEvents
}

const tags = ['Events']
const MAX_WAIT_SECONDS = 30

/** A position in the tenant's sequence: at most 18 digits, so that it fits PostgreSQL's bigint. */
const position = z
  .string()
  .regex(/^\d{1,18}$/, 'expected the sequence number of an event')
  .transform(BigInt)
const types = z
  .string()
  .transform((text) => [...new Set(text.split(','))])
  .pipe(z.array(z.enum(publicEventTypes)).min(1))
  .meta({ description: 'Only these types, separated by commas.', examples: ['message.received,message.failed'] })
const filter = { types: types.optional(), instanceId: idParam('ins').optional() }

const eventView = z
  .object({
    id: z.string().meta({ examples: ['evt_01J8Z3V9K7QW5XN2M4T6R8Y0BC'] }),
    sequence: z.int().meta({ description: 'Position in your sequence of events: grows, without doubles.' }),
    type: z.enum(publicEventTypes),
    timestamp: z.iso.datetime(),
    instanceId: z.string().nullable().meta({ description: 'Null: of no instance.' }),
    data: z.unknown().meta({ description: 'As in the body of a webhook.' }),
  })
  .meta({
    id: 'Event',
    examples: [
      {
        id: 'evt_01J8Z3V9K7QW5XN2M4T6R8Y0BC',
        sequence: 1043,
        type: 'instance.status_changed',
        timestamp: '2026-11-20T21:00:00.000Z',
        instanceId: 'ins_01J8Z3V9K7QW5XN2M4T6R8Y0BC',
        data: {
          instanceId: 'ins_01J8Z3V9K7QW5XN2M4T6R8Y0BC',
          connectionStatus: 'CONNECTED',
          reason: null,
          since: '2026-11-20T21:00:00.000Z',
          previousStatus: 'LOADING',
        },
      },
    ],
  })

export function eventRoutes({ db, show, live }: EventRoutesDeps): (app: App) => void {
  return (app) => {
    app.get(
      '/api/events',
      {
        config: { scope: 'read' },
        schema: {
          tags,
          summary: 'Pull events',
          description:
            'Events after the position `after`, in sequence. Pass `nextCursor` as the next `after`: nothing is skipped, nothing comes twice. With `wait` an empty answer is held until there is something to tell, or for so many seconds. Events are kept for 30 days: a cursor from before that is answered with 410 `cursor_gone`, which names the oldest one there is.',
          querystring: z.object({
            after: position.optional().meta({
              description: 'A sequence number. Default: from the oldest event that is kept.',
              examples: ['1042'],
            }),
            ...filter,
            limit: z.coerce.number().int().min(1).max(MAX_PAGE).default(50),
            wait: z.coerce.number().int().min(0).max(MAX_WAIT_SECONDS).default(0).meta({ description: 'Seconds.' }),
          }),
          response: {
            200: z.object({
              data: z.array(eventView),
              nextCursor: z.string().meta({ examples: ['1043'] }),
              hasMore: z.boolean().meta({ description: 'Whether to ask again at once.' }),
            }),
          },
        },
      },
      async (request, reply) => {
        const { tenantId } = request.auth
        const { after, wait, ...range } = request.query
        const page = await pull(tenantId, { after, ...range })
        if (page.data.length > 0 || wait === 0) return page
        const gone = new AbortController()
        reply.raw.once('close', () => gone.abort())
        const signal = AbortSignal.any([gone.signal, draining(request.server), live.stopping])
        const from = BigInt(page.nextCursor)
        await live.next({ tenantId, wants: wantsOf(range) }, { after: from, timeoutMs: wait * 1_000, signal })
        return pull(tenantId, { after: from, ...range })
      },
    )

    app.get(
      '/api/live',
      {
        config: { scope: 'read' },
        schema: {
          tags,
          summary: 'Follow events as they happen (server-sent events)',
          description:
            'The id of each event is its sequence number. With `Last-Event-ID` (or `after`) the stream begins right after that one, with nothing missing and nothing twice; without, it begins now. The first id comes at once, without an event, so that nothing is missed even when the stream breaks before its first event. A position from before what is kept is answered with 410 `cursor_gone`.',
          querystring: z.object({ after: position.optional(), ...filter }),
          produces: ['text/event-stream'],
        },
      },
      async (request, reply) => {
        const { tenantId } = request.auth
        const after = lastEventId(request) ?? request.query.after ?? 'now'
        const wants = wantsOf(request.query)
        const kept = after === 'now' ? undefined : await db.tenantTx(tenantId, (tx) => keptRange(tx, tenantId))
        if (kept && after !== 'now' && after < kept.oldest) throw cursorGone(kept.oldest)
        const stream = openEventStream(request, reply, { signal: live.stopping })
        const { closed } = stream
        const send: Parameters<LiveEvents['follow']>[0]['send'] = (view) =>
          stream.send({ id: String(view.sequence), event: view.type, data: view })
        const drained = () => drainOf(reply.raw, closed)
        const begin = (start: bigint) => stream.mark(String(start))
        await live.follow({ tenantId, begin, wants, send, drained, closed }, after)
        stream.end()
      },
    )
  }

  async function pull(tenantId: TenantId, { after, limit, instanceId, types = publicEventTypes }: Pull) {
    const { kept, from, found } = await db.tenantTx(tenantId, async (tx) => {
      // Read first: everything up to the newest is visible to the statement after it.
      const kept = await keptRange(tx, tenantId)
      const from = after ?? kept.oldest
      if (from < kept.oldest || from > kept.newest) throw cursorGone(kept.oldest)
      return { kept, from, found: await listEvents(tx, tenantId, { after: from, types, instanceId, limit: limit + 1 }) }
    })
    const page = found.slice(0, limit)
    const hasMore = found.length > limit
    const last = page.at(-1)?.seq ?? from
    // Past what the filters left out too, so that it is not read again.
    const nextCursor = hasMore ? last : newest(last, kept.newest)
    return { data: (await show(tenantId, page)).map(asPublic), nextCursor: String(nextCursor), hasMore }
  }
}

interface Filter {
  readonly types?: readonly PublicEventType[] | undefined
  readonly instanceId?: InstanceId | undefined
}

interface Pull extends Filter {
  readonly after: bigint | undefined
  readonly limit: number
}

const wantsOf =
  ({ types, instanceId }: Filter) =>
  (event: StoredEvent): boolean =>
    isPublic(event.type) &&
    (types === undefined || types.includes(event.type)) &&
    (instanceId === undefined || event.instanceId === instanceId)

/** Also for a position that this database never gave out, as after a backup was restored: to wait there would skip events. */
const cursorGone = (oldest: bigint): AppError =>
  new AppError('cursor_gone', {
    detail: `Events are kept from the cursor ${oldest} on.`,
    extension: { oldestCursor: String(oldest) },
  })

const newest = (left: bigint, right: bigint): bigint => (left > right ? left : right)

/** `listEvents` was asked for public types only. */
const asPublic = (view: EventView) => ({ ...view, type: view.type as PublicEventType })

/** Resolves when the response takes more, or when it has ended. */
function drainOf(response: Writable, ended: AbortSignal): Promise<void> {
  if (!response.writableNeedDrain || ended.aborted) return Promise.resolve()
  return new Promise((resolve) => {
    const settle = (): void => {
      response.off('drain', settle)
      ended.removeEventListener('abort', settle)
      resolve()
    }
    response.on('drain', settle)
    ended.addEventListener('abort', settle)
  })
}

function lastEventId(request: FastifyRequest): bigint | undefined {
  const header = request.headers['last-event-id']
  if (header === undefined || header === '') return undefined
  const parsed = position.safeParse(header)
  if (parsed.success) return parsed.data
  throw new AppError('invalid_request', {
    detail: 'Last-Event-ID must be the sequence number of an event.',
  })
}
