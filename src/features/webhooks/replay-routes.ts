/** The HTTP route that delivers recorded events to an endpoint again. */
import { z } from 'zod'
import type { Clock } from '../../kernel/clock.js'
import { AppError } from '../../kernel/errors.js'
import type { IdGenerator } from '../../kernel/ids.js'
import type { Database } from '../../platform/database/database.js'
import { type App, idParam } from '../../platform/http/route.js'
import type { Jobs } from '../../platform/jobs/jobs.js'
import { findEndpoint } from './endpoint-store.js'
import { MAX_REPLAYED, replayEvent, replayRange } from './replay-deliveries.js'
import { existing } from './webhook-routes.js'

export interface ReplayRoutesDeps {
  readonly db: Database
  readonly jobs: Pick<Jobs, 'enqueue' | 'enqueueAll'>
  readonly clock: Clock
  readonly ids: IdGenerator
}

const time = z.iso.datetime({ offset: true }).transform((text) => new Date(text))

const replayBody = z
  .strictObject({
    eventId: idParam('evt').optional().meta({ description: 'One event, whatever the filters of the endpoint say.' }),
    since: time.optional().meta({ description: 'What was recorded at this time or later.' }),
    until: time.optional().meta({ description: 'And at this time or earlier. Default: until now.' }),
    onlyFailed: z.boolean().optional().meta({
      description: 'Only events whose delivery to this endpoint was given up, or waits for another try.',
    }),
    dryRun: z.boolean().optional().meta({ description: 'Only count: nothing is delivered.' }),
  })
  .superRefine(({ eventId, since, until, onlyFailed }, context) => {
    const refuse = (field: string, message: string) => context.addIssue({ code: 'custom', path: [field], message })
    if (eventId !== undefined) {
      for (const [field, value] of Object.entries({ since, until, onlyFailed })) {
        if (value !== undefined) refuse(field, 'goes with a range, not with eventId')
      }
    } else if (since === undefined) refuse('since', 'name an eventId, or since when')
    else if (until !== undefined && until <= since) refuse('until', 'must be later than since')
  })
  .meta({
    examples: [
      { eventId: 'evt_01J8Z3V9K7QW5XN2M4T6R8Y0BC' },
      { since: '2026-11-20T08:00:00Z', until: '2026-11-20T12:00:00Z' },
      { onlyFailed: true, since: '2026-11-18T00:00:00Z', dryRun: true },
    ],
  })

const replayAnswer = z
  .object({ count: z.int().meta({ description: 'How many events are delivered again, or would be.' }) })
  .meta({ examples: [{ count: 42 }] })

export function replayRoutes({ db, jobs, clock, ids }: ReplayRoutesDeps): (app: App) => void {
  return (app) => {
    app.post(
      '/api/webhooks/:id/replay',
      {
        config: { scope: 'settings' },
        schema: {
          tags: ['Webhooks'],
          summary: 'Deliver recorded events to a webhook endpoint again',
          description: `One event by its id, a range of time, or all that failed since. Each is delivered under its own \`webhook-id\`, with the body it had, a new timestamp and a new signature. A range is gone through step by step, in the order of the events; how far it has come shows in the endpoint's deliveries. At most ${MAX_REPLAYED.toLocaleString('en-US')} events at once.`,
          params: z.object({ id: idParam('whe') }),
          body: replayBody,
          response: { 200: replayAnswer.meta({ description: 'Counted only.' }), 202: replayAnswer },
        },
      },
      async (request, reply) => {
        const { tenantId } = request.auth
        const { eventId, since, until, onlyFailed = false, dryRun = false } = request.body
        const endpoint = { tenantId, endpointId: request.params.id }
        const now = new Date(clock.now())
        if (since !== undefined && since > now) throw refused('since', 'Nothing was recorded in the future.')
        const count = await db.tenantTx(tenantId, async (tx) => {
          const { enabled } = existing(await findEndpoint(tx, tenantId, endpoint.endpointId))
          if (!enabled) throw new AppError('conflict', { detail: 'The endpoint is disabled: enable it first.' })
          if (eventId !== undefined) return replayEvent(tx, { jobs, ids }, endpoint, { eventId, dryRun })
          // The schema has made sure that there is one.
          return replayRange(tx, jobs, endpoint, { since: since ?? now, until: until ?? now, onlyFailed, dryRun })
        })
        if (count === undefined) throw noSuchEvent()
        if (count > MAX_REPLAYED) throw refused('since', `More than ${MAX_REPLAYED} events: choose a shorter range.`)
        return reply.code(dryRun ? 200 : 202).send({ count })
      },
    )
  }
}

const refused = (field: string, detail: string): AppError =>
  new AppError('invalid_request', { errors: [{ pointer: `/${field}`, detail }] })

const noSuchEvent = (): AppError =>
  new AppError('not_found', { errors: [{ pointer: '/eventId', detail: 'No event has this id.' }] })
