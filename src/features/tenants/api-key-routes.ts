/** `/api/keys`: making, listing, rotating and revoking the tenant's API keys. For admin keys only. */
import { z } from 'zod'
import type { Clock } from '../../kernel/clock.js'
import { AppError } from '../../kernel/errors.js'
import { type ApiKeyId, type IdGenerator, publicId } from '../../kernel/ids.js'
import type { Database, Tx } from '../../platform/database/database.js'
import { type App, type Auth, idParam, pageOf, pageQuery, scopes } from '../../platform/http/route.js'
import { type ApiKey, newSecret } from './api-key.js'
import { expireKey, findKey, insertKey, listKeys, lockAdminKeys, revokeKey } from './api-key-store.js'
import { apiKeyView, newApiKeyView, showApiKey } from './api-key-view.js'

export interface ApiKeyRoutesDeps {
  readonly db: Database
  readonly ids: IdGenerator
  readonly clock: Pick<Clock, 'now'>
}

const DAY_SECONDS = 86_400
const MAX_OVERLAP_SECONDS = 7 * DAY_SECONDS

const newKeyBody = z.strictObject({
  name: z.string().trim().min(1).max(100),
  scopes: z
    .array(z.enum(scopes))
    .min(1)
    .transform((list) => [...new Set(list)]),
  expiresAt: z.iso.datetime({ offset: true }).optional().meta({ description: 'When the key ends; never by default.' }),
})

const rotateBody = z
  .strictObject({
    overlapSeconds: z.int().min(0).max(MAX_OVERLAP_SECONDS).default(DAY_SECONDS).meta({
      description: 'How long the old key goes on working beside the new one.',
    }),
  })
  .prefault({})

const tags = ['Keys']
const keyPage = pageQuery.extend({ cursor: idParam('key').optional() })
const keyParams = z.object({ id: idParam('key') })

export function apiKeyRoutes(deps: ApiKeyRoutesDeps): (app: App) => void {
  return (app) => {
    listRoute(app, deps)
    createRoute(app, deps)
    rotateRoute(app, deps)
    revokeRoute(app, deps)
  }
}

function listRoute(app: App, { db }: ApiKeyRoutesDeps): void {
  app.get(
    '/api/keys',
    {
      config: { scope: 'admin' },
      schema: { tags, summary: 'List API keys', querystring: keyPage, response: { 200: pageOf(apiKeyView) } },
    },
    async ({ auth, query: { limit, cursor } }) => {
      const keys = await db.tenantTx(auth.tenantId, (tx) =>
        listKeys(tx, auth.tenantId, { limit: limit + 1, before: cursor }),
      )
      const page = keys.slice(0, limit)
      const last = keys.length > limit ? page.at(-1) : undefined
      return { data: page.map(showApiKey), nextCursor: last ? publicId('key', last.id) : null }
    },
  )
}

function createRoute(app: App, { db, ids, clock }: ApiKeyRoutesDeps): void {
  app.post(
    '/api/keys',
    {
      config: { scope: 'admin' },
      schema: {
        tags,
        summary: 'Make an API key; it is shown this once',
        body: newKeyBody,
        response: { 201: newApiKeyView },
      },
    },
    async ({ auth, body }, reply) => {
      const expiresAt = body.expiresAt === undefined ? null : new Date(body.expiresAt)
      if (expiresAt && expiresAt.getTime() <= clock.now()) {
        throw new AppError('invalid_request', { errors: [{ pointer: '/expiresAt', detail: 'It is in the past.' }] })
      }
      const { clearKey, ...secret } = newSecret()
      const key = await db.tenantTx(auth.tenantId, (tx) =>
        insertKey(tx, auth.tenantId, {
          ...secret,
          id: ids.next('key'),
          name: body.name,
          scopes: body.scopes,
          expiresAt,
        }),
      )
      return reply.code(201).send({ ...showApiKey(key), key: clearKey })
    },
  )
}

function rotateRoute(app: App, { db, ids, clock }: ApiKeyRoutesDeps): void {
  app.post(
    '/api/keys/:id/rotate',
    {
      config: { scope: 'admin' },
      schema: {
        tags,
        summary: 'Replace an API key by a new one; both work during the overlap',
        params: keyParams,
        body: rotateBody,
        response: { 201: newApiKeyView },
      },
    },
    async ({ auth, params: { id }, body: { overlapSeconds } }, reply) => {
      const { clearKey, ...secret } = newSecret()
      const key = await db.tenantTx(auth.tenantId, async (tx) => {
        const old = await findLiveKey(tx, auth, id, clock.now())
        await expireKey(tx, auth.tenantId, id, new Date(clock.now() + overlapSeconds * 1_000))
        const { name, scopes: granted, expiresAt } = old
        return insertKey(tx, auth.tenantId, { ...secret, id: ids.next('key'), name, scopes: granted, expiresAt })
      })
      return reply.code(201).send({ ...showApiKey(key), key: clearKey })
    },
  )
}

function revokeRoute(app: App, { db }: ApiKeyRoutesDeps): void {
  app.delete(
    '/api/keys/:id',
    {
      config: { scope: 'admin' },
      schema: {
        tags,
        summary: 'Revoke an API key, at once and for good',
        params: keyParams,
        response: { 204: z.undefined() },
      },
    },
    async ({ auth, params: { id } }, reply) => {
      await db.tenantTx(auth.tenantId, async (tx) => {
        const adminKeys = await lockAdminKeys(tx, auth.tenantId)
        if (!(await findKey(tx, auth.tenantId, id))) throw new AppError('not_found')
        if (adminKeys.length === 1 && adminKeys[0] === id) {
          throw new AppError('conflict', { detail: 'This is the last admin key: make another one first.' })
        }
        await revokeKey(tx, auth.tenantId, id)
      })
      return reply.code(204).send()
    },
  )
}

// Helpers

async function findLiveKey(tx: Tx, { tenantId }: Auth, id: ApiKeyId, now: number): Promise<ApiKey> {
  const key = await findKey(tx, tenantId, id)
  if (!key) throw new AppError('not_found')
  if (key.revokedAt || (key.expiresAt && key.expiresAt.getTime() <= now)) {
    throw new AppError('conflict', { detail: 'This key has ended; make a new one.' })
  }
  return key
}
