/** The HTTP routes of instances. */
import { z } from 'zod'
import { AppError } from '../../kernel/errors.js'
import { type InstanceId, parseId, publicId, type TenantId } from '../../kernel/ids.js'
import type { Database } from '../../platform/database/database.js'
import { type App, idParam, pageOf, pageQuery, type Scope } from '../../platform/http/route.js'
import type { DataKeys } from '../tenants/data-keys.js'
import type { ChangeInstance } from './change-instance.js'
import { connectionStatuses } from './instance.js'
import { findInstance, findInstanceOwner, type InstanceRow, listInstances } from './instance-store.js'
import {
  instanceDetailsView,
  instanceStatusView,
  instanceView,
  qrView,
  viewConnected,
  viewInstance,
  viewInstanceDetails,
  viewInstanceStatus,
  viewQr,
} from './instance-view.js'
import type { News } from './news.js'
import { readQr } from './read-qr.js'

export interface InstanceRoutesDeps {
  readonly db: Database
  readonly dataKeys: DataKeys
  readonly news: News
  readonly change: ChangeInstance
  /** Of the reconnect policy, for show. */
  readonly maxAttempts: number
}

const tags = ['Instances']
const params = z.object({ id: idParam('ins') })
const MAX_QR_WAIT_SECONDS = 20

const name = z
  .string()
  .trim()
  .min(1)
  .max(100)
  .regex(/^[^\p{C}]*$/u, 'must not contain control characters')
  .meta({ description: 'Yours; unique among your instances.', examples: ['shop-1'] })

export function instanceRoutes(deps: InstanceRoutesDeps): (app: App) => void {
  return (app) => {
    addCollection(app, deps)
    addReads(app, deps)
    addQr(app, deps)
    addActions(app, deps)
  }
}

function addCollection(app: App, { db, change, maxAttempts }: InstanceRoutesDeps): void {
  app.post(
    '/api/instances',
    {
      config: { scope: 'control' },
      schema: {
        tags,
        summary: 'Create an instance',
        description: 'One WhatsApp number. Unless `enabled` is false it begins to connect at once: read its QR next.',
        body: z.strictObject({
          name,
          provider: z.enum(['baileys']).default('baileys'),
          enabled: z.boolean().default(true),
        }),
        response: { 201: instanceView },
      },
    },
    async (request, reply) => {
      const row = await change.create(request.auth.tenantId, request.body)
      return reply.code(201).send(viewInstance(row, maxAttempts))
    },
  )

  app.get(
    '/api/instances',
    {
      config: { scope: 'read' },
      schema: {
        tags,
        summary: 'List instances, the newest first',
        querystring: pageQuery.extend({
          enabled: z.stringbool().optional(),
          connectionStatus: z.enum(connectionStatuses).optional(),
        }),
        response: { 200: pageOf(instanceView) },
      },
    },
    async (request) => {
      const { tenantId } = request.auth
      const { limit, cursor, enabled, connectionStatus } = request.query
      const filter = { enabled, connectionStatus, before: parseCursor(cursor), limit: limit + 1 }
      const rows = await db.tenantTx(tenantId, (tx) => listInstances(tx, tenantId, filter))
      const page = rows.slice(0, limit)
      const last = rows.length > limit ? page.at(-1) : undefined
      return {
        data: page.map((row) => viewInstance(row, maxAttempts)),
        nextCursor: last ? publicId('ins', last.id) : null,
      }
    },
  )
}

function addReads(app: App, { db, maxAttempts }: InstanceRoutesDeps): void {
  app.get(
    '/api/instances/:id',
    {
      config: { scope: 'read' },
      schema: { tags, summary: 'Read an instance', params, response: { 200: instanceView } },
    },
    async (request) => viewInstance(await find(db, request.auth.tenantId, request.params.id), maxAttempts),
  )

  app.get(
    '/api/instances/:id/status',
    {
      config: { scope: 'read' },
      schema: { tags, summary: "Read an instance's status", params, response: { 200: instanceStatusView } },
    },
    async (request) => viewInstanceStatus(await find(db, request.auth.tenantId, request.params.id)),
  )

  app.get(
    '/api/instances/:id/details',
    {
      config: { scope: 'read' },
      schema: {
        tags,
        summary: 'Read an instance and who runs it',
        params,
        response: { 200: instanceDetailsView },
      },
    },
    async (request) => {
      const { tenantId } = request.auth
      const row = await find(db, tenantId, request.params.id)
      return viewInstanceDetails(row, await findInstanceOwner(db, tenantId, row.id), maxAttempts)
    },
  )
}

function addQr(app: App, deps: InstanceRoutesDeps): void {
  app.get(
    '/api/instances/:id/qr',
    {
      // Whoever scans the code owns the session, so reading is not enough.
      config: { scope: 'control' },
      schema: {
        tags,
        summary: 'Read the QR to scan',
        description:
          'Waits for a real QR, at most `wait` seconds. A connected instance needs none: `qr` is null. A code changes every 20 s or so; after two minutes without a scan the session ends (`qr_expired`) until a restart.',
        params,
        querystring: z.object({
          wait: z.coerce.number().min(0).max(MAX_QR_WAIT_SECONDS).default(MAX_QR_WAIT_SECONDS),
        }),
        response: { 200: qrView },
      },
    },
    async (request, reply) => {
      const owner = { tenantId: request.auth.tenantId, instanceId: request.params.id }
      const shown = await readQr(deps, owner, request.query.wait * 1_000)
      reply.header('cache-control', 'no-store')
      return shown === 'connected' ? viewConnected : viewQr(shown.row, shown.code)
    },
  )
}

function addActions(app: App, { change, maxAttempts }: InstanceRoutesDeps): void {
  app.patch(
    '/api/instances/:id',
    {
      config: { scope: 'control' },
      schema: {
        tags,
        summary: 'Change the settings of an instance',
        params,
        body: z
          .strictObject({
            name: name.optional(),
            rejectCalls: z
              .boolean()
              .optional()
              .meta({ description: 'Reject calls to this number. `call.received` tells of them either way.' }),
          })
          .refine((body) => Object.keys(body).length > 0, 'must name a setting'),
        response: { 200: instanceView },
      },
    },
    async (request) => {
      const row = await change.set(request.auth.tenantId, request.params.id, request.body)
      return viewInstance(row, maxAttempts)
    },
  )

  app.delete(
    '/api/instances/:id',
    {
      config: { scope: 'delete' },
      schema: {
        tags,
        summary: 'Delete an instance',
        description: 'Its device is removed from the WhatsApp account and its credentials are purged soon after.',
        params,
        response: { 204: z.null() },
      },
    },
    async (request, reply) => {
      await change.remove(request.auth.tenantId, request.params.id)
      return reply.code(204).send(null)
    },
  )

  for (const { verb, summary, description } of actions) {
    app.post(
      `/api/instances/:id/${verb}`,
      {
        config: { scope: 'control' satisfies Scope },
        schema: { tags, summary, description, params, response: { 200: instanceView } },
      },
      async (request) => viewInstance(await change[verb](request.auth.tenantId, request.params.id), maxAttempts),
    )
  }
}

const actions = [
  {
    verb: 'enable',
    summary: 'Enable an instance',
    description: 'It connects and stays connected. One that waits for you (logged out, QR expired) begins again.',
  },
  {
    verb: 'disable',
    summary: 'Disable an instance',
    description: 'It disconnects and stays so; its session remains valid.',
  },
  {
    verb: 'restart',
    summary: 'Restart an instance',
    description:
      'Connects anew, counting attempts from the start; asks for a new QR where WhatsApp has ended the session.',
  },
  {
    verb: 'logout',
    summary: 'Log an instance out',
    description: 'Removes the device from the WhatsApp account. To connect again, restart it and scan.',
  },
] as const

async function find(db: Database, tenantId: TenantId, id: InstanceId): Promise<InstanceRow> {
  const row = await db.tenantTx(tenantId, (tx) => findInstance(tx, tenantId, id))
  if (!row) throw new AppError('not_found', { detail: 'No instance has this id.' })
  return row
}

function parseCursor(cursor: string | undefined): InstanceId | undefined {
  if (cursor === undefined) return undefined
  const id = parseId('ins', cursor)
  if (id) return id
  throw new AppError('invalid_request', {
    errors: [{ pointer: '/cursor', detail: 'Pass the nextCursor of the page before.' }],
  })
}
