/** The HTTP routes of webhook endpoints. */
import { z } from 'zod'
import type { Clock } from '../../kernel/clock.js'
import { AppError } from '../../kernel/errors.js'
import { type IdGenerator, type InstanceId, publicId, type TenantId } from '../../kernel/ids.js'
import type { Database, Tx } from '../../platform/database/database.js'
import type { Egress } from '../../platform/egress/http-client.js'
import { type App, idParam, pageOf, pageQuery } from '../../platform/http/route.js'
import type { Jobs } from '../../platform/jobs/jobs.js'
import { publicEventTypes } from '../events/event.js'
import { record } from '../events/record.js'
import type { DataKeys } from '../tenants/data-keys.js'
import { closeCircuits } from './circuit-store.js'
import { insertDeliveries } from './delivery-store.js'
import { type Endpoint, rotationOverlapHours, sealSecret } from './endpoint.js'
import {
  changeEndpoint,
  deleteEndpoint,
  findEndpoint,
  hasInstance,
  insertEndpoint,
  listEndpoints,
  replaceSecret,
} from './endpoint-store.js'
import { cut, parseCursor } from './paging.js'
import { releaseJob } from './release-deliveries.js'
import { newSecret } from './signature.js'
import { endpointView, endpointWithSecret, viewEndpoint } from './webhook-view.js'

export interface WebhookRoutesDeps {
  readonly db: Database
  readonly jobs: Pick<Jobs, 'enqueue'>
  readonly egress: Pick<Egress, 'check'>
  readonly dataKeys: DataKeys
  readonly clock: Clock
  readonly ids: IdGenerator
}

const tags = ['Webhooks']
const HOUR_MS = 3_600_000
const endpointParams = z.object({ id: idParam('whe') })

const url = z
  .string()
  .min(1)
  .max(2_048)
  .meta({ description: 'https, or what EGRESS_ALLOW permits.', examples: ['https://example.com/hooks/mirante'] })
const events = z
  .array(z.enum(publicEventTypes))
  .min(1)
  .transform((types) => [...new Set(types)])
  .nullable()
  .meta({ description: 'The types of event to deliver. Null: all.' })
const instanceId = idParam('ins').nullable().meta({ description: 'Only events of this instance. Null: of all.' })
const ordered = z.boolean().meta({
  description:
    'Deliver the events of one chat one after another: the next only when the one before was delivered or given up. A receiver that fails holds up its chats.',
})

const newEndpoint = z
  .strictObject({
    url,
    events: events.default(null),
    instanceId: instanceId.default(null),
    format: z.literal('standard').default('standard'),
    ordered: ordered.default(false),
  })
  .meta({ examples: [{ url: 'https://example.com/hooks/mirante', events: ['message.received', 'message.failed'] }] })
const endpointChange = z
  .strictObject({
    url: url.optional(),
    events: events.optional(),
    instanceId: instanceId.optional(),
    ordered: ordered.optional(),
    enabled: z.boolean().optional(),
  })
  .meta({ examples: [{ enabled: true }, { events: null, ordered: true }] })
const rotation = z
  .strictObject({
    overlapHours: z.number().min(0).max(rotationOverlapHours.max).default(rotationOverlapHours.default).meta({
      description: 'How long the old secret signs beside the new one. 0: not at all.',
    }),
  })
  .prefault({})
  .meta({ examples: [{ overlapHours: 48 }] })
const testAnswer = z.object({ eventId: z.string(), deliveryId: z.string() }).meta({
  examples: [{ eventId: 'evt_01J8Z3V9K7QW5XN2M4T6R8Y0BC', deliveryId: 'dlv_01J8Z3V9K7QW5XN2M4T6R8Y0BD' }],
})

export function webhookRoutes(deps: WebhookRoutesDeps): (app: App) => void {
  return (app) => {
    addEndpointRoutes(app, deps)
    addSecretAndTestRoutes(app, deps)
  }
}

function addEndpointRoutes(app: App, { db, jobs, egress, dataKeys, clock, ids }: WebhookRoutesDeps): void {
  app.post(
    '/api/webhooks',
    {
      config: { scope: 'settings' },
      schema: {
        tags,
        summary: 'Register a webhook endpoint',
        description:
          'Events are posted to it as Standard Webhooks has it: `{type, timestamp, data}`, signed with the secret that this answer shows once, tried again for three days until it answers 2xx. A repeated delivery has the same `webhook-id`.',
        body: newEndpoint,
        response: { 201: endpointWithSecret },
      },
    },
    async (request, reply) => {
      const { tenantId } = request.auth
      const { url, events, instanceId, ordered } = request.body
      await egress.check(url)
      const [id, secret] = [ids.next('whe'), newSecret()]
      const secretSealed = await sealSecret(dataKeys, { tenantId, id }, secret)
      const endpoint = await db.tenantTx(tenantId, async (tx) => {
        await assertInstance(tx, tenantId, instanceId)
        return insertEndpoint(tx, tenantId, { id, url, events, instanceId, ordered, secretSealed })
      })
      return reply.code(201).send({ ...viewEndpoint(endpoint, clock.now()), secret })
    },
  )

  app.get(
    '/api/webhooks',
    {
      config: { scope: 'read' },
      schema: {
        tags,
        summary: 'List webhook endpoints',
        querystring: pageQuery,
        response: { 200: pageOf(endpointView) },
      },
    },
    async (request) => {
      const { tenantId } = request.auth
      const { limit, cursor } = request.query
      const before = parseCursor('whe', cursor)
      const found = await db.tenantTx(tenantId, (tx) => listEndpoints(tx, tenantId, { limit: limit + 1, before }))
      const { page, next } = cut(found, limit)
      return {
        data: page.map((endpoint) => viewEndpoint(endpoint, clock.now())),
        nextCursor: next ? publicId('whe', next.id) : null,
      }
    },
  )

  app.get(
    '/api/webhooks/:id',
    {
      config: { scope: 'read' },
      schema: { tags, summary: 'Read a webhook endpoint', params: endpointParams, response: { 200: endpointView } },
    },
    async (request) => {
      const { tenantId } = request.auth
      const endpoint = await db.tenantTx(tenantId, (tx) => findEndpoint(tx, tenantId, request.params.id))
      return viewEndpoint(existing(endpoint), clock.now())
    },
  )

  app.patch(
    '/api/webhooks/:id',
    {
      config: { scope: 'settings' },
      schema: {
        tags,
        summary: 'Change a webhook endpoint',
        description:
          'What is left out stays. Deliveries that are due while it is disabled are dropped; replay them when it is enabled again. Enabling it, or giving it another URL, closes its circuit.',
        params: endpointParams,
        body: endpointChange,
        response: { 200: endpointView },
      },
    },
    async (request) => {
      const { tenantId } = request.auth
      const change = request.body
      if (change.url !== undefined) await egress.check(change.url)
      const endpoint = await db.tenantTx(tenantId, async (tx) => {
        await assertInstance(tx, tenantId, change.instanceId ?? null)
        const key = { tenantId, endpointId: request.params.id }
        const isNewStart = change.enabled === true || change.url !== undefined
        if (isNewStart && (await closeCircuits(tx, [key])).length > 0) await jobs.enqueue(tx, releaseJob(key))
        return changeEndpoint(tx, tenantId, request.params.id, change)
      })
      return viewEndpoint(existing(endpoint), clock.now())
    },
  )

  app.delete(
    '/api/webhooks/:id',
    {
      config: { scope: 'delete' },
      schema: { tags, summary: 'Delete a webhook endpoint', params: endpointParams, response: { 204: z.null() } },
    },
    async (request, reply) => {
      const { tenantId } = request.auth
      const deleted = await db.tenantTx(tenantId, (tx) => deleteEndpoint(tx, tenantId, request.params.id))
      if (!deleted) throw endpointNotFound()
      return reply.code(204).send(null)
    },
  )
}

function addSecretAndTestRoutes(app: App, { db, jobs, dataKeys, clock, ids }: WebhookRoutesDeps): void {
  app.post(
    '/api/webhooks/:id/rotate-secret',
    {
      config: { scope: 'settings' },
      schema: {
        tags,
        summary: 'Give a webhook endpoint a new secret',
        description:
          'The new secret is shown this once. Until the overlap ends every delivery is signed with both: `webhook-signature` has two values, separated by a space. Of two rotations within the overlap of the first, the oldest secret ends at once.',
        params: endpointParams,
        body: rotation,
        response: { 200: endpointWithSecret },
      },
    },
    async (request) => {
      const { tenantId } = request.auth
      const { id } = request.params
      const secret = newSecret()
      const secretSealed = await sealSecret(dataKeys, { tenantId, id }, secret)
      const oldUntil = new Date(clock.now() + request.body.overlapHours * HOUR_MS)
      const endpoint = await db.tenantTx(tenantId, (tx) => replaceSecret(tx, tenantId, id, { secretSealed, oldUntil }))
      return { ...viewEndpoint(existing(endpoint), clock.now()), secret }
    },
  )

  app.post(
    '/api/webhooks/:id/test',
    {
      config: { scope: 'settings' },
      schema: {
        tags,
        summary: 'Send a test event to a webhook endpoint',
        description: 'Records `webhook.tested` and delivers it to this endpoint only, whatever its filters say.',
        params: endpointParams,
        response: { 202: testAnswer },
      },
    },
    async (request, reply) => {
      const { tenantId } = request.auth
      const endpointId = request.params.id
      const [eventId, deliveryId] = [ids.next('evt'), ids.next('dlv')]
      await db.tenantTx(tenantId, async (tx) => {
        const { enabled } = existing(await findEndpoint(tx, tenantId, endpointId))
        if (!enabled) throw new AppError('conflict', { detail: 'The endpoint is disabled: enable it first.' })
        const about = { instanceId: null, subjectId: endpointId, data: {} }
        await record(tx, [{ id: eventId, tenantId, type: 'webhook.tested', ...about }])
        await insertDeliveries(tx, [{ id: deliveryId, tenantId, endpointId, eventId }])
        await jobs.enqueue(tx, { kind: 'deliver-webhook', tenantId, id: deliveryId })
      })
      return reply.code(202).send({ eventId: publicId('evt', eventId), deliveryId: publicId('dlv', deliveryId) })
    },
  )
}

export const endpointNotFound = (): AppError =>
  new AppError('not_found', { detail: 'No webhook endpoint has this id.' })

/** The endpoint, or `not_found`. */
export function existing(endpoint: Endpoint | undefined): Endpoint {
  if (!endpoint) throw endpointNotFound()
  return endpoint
}

async function assertInstance(tx: Tx, tenantId: TenantId, wanted: InstanceId | null): Promise<void> {
  if (wanted === null || (await hasInstance(tx, tenantId, wanted))) return
  throw new AppError('not_found', {
    errors: [{ pointer: '/instanceId', detail: 'No instance has this id.' }],
  })
}
