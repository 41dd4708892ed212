/** The whole API, as composed: who may ask for what, and that no tenant sees another's. */
import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Base, composeBase } from '../../src/app/compose-base.js'
import { composeWeb } from '../../src/app/compose-web.js'
import { readConfig } from '../../src/app/config.js'
import { newSecret } from '../../src/features/tenants/api-key.js'
import { insertKey } from '../../src/features/tenants/api-key-store.js'
import { DEFAULT_TENANT_ID } from '../../src/features/tenants/tenant.js'
import { type IdPrefix, publicId, type TenantId } from '../../src/kernel/ids.js'
import { silentLogger } from '../../src/kernel/logger.js'
import { authorizationContract } from '../../src/platform/http/authorization.contract.js'
import { createTestDatabase, type TestDatabase } from '../support/database.js'
import { buildInstance } from '../support/factories.js'
import { type Askable, askable } from '../support/http-server.js'

const GROUP = '120363025246125486@g.us'
let database: TestDatabase
let base: Base
let http: Askable

beforeAll(async () => {
  database = await createTestDatabase()
  const config = { ...readConfig({}, {}), databaseUrl: database.url, encryptionKey: Buffer.alloc(32, 7) }
  base = composeBase(config, { roles: new Set(['web']), slot: 0, logger: silentLogger })
  http = await askable(database.db, composeWeb(config, base).server)
})
afterAll(async () => {
  await http?.server.stop()
  await base?.db.close()
  await database?.drop()
})

authorizationContract({ server: () => http, streams: ['/api/live'] })

describe('what belongs to one tenant', () => {
  /** A body that each route accepts, where it wants one: the refusal must be for the tenant, not for the form. */
  const bodies: Readonly<Record<string, (ids: Things) => object>> = {
    'PATCH /api/instances/:id': () => ({ name: 'taken' }),
    'POST /api/instances/:id/pairing-code': () => ({ phone: '+5511987654321' }),
    'POST /api/instances/:id/groups': () => ({ subject: 'taken', participants: ['+5511987654321'] }),
    'PATCH /api/instances/:id/groups/:groupId': () => ({ subject: 'taken' }),
    'POST /api/instances/:id/groups/:groupId/participants': () => ({ action: 'add', participants: ['+5511987654321'] }),
    'POST /api/instances/:id/groups/join': () => ({ code: 'AbCdEfGhIjKl' }),
    'POST /api/instances/:id/presence': () => ({ presence: 'available' }),
    'PATCH /api/messages/:id': () => ({ text: { body: 'taken' } }),
    'POST /api/messages/:id/reaction': () => ({ emoji: '👍' }),
    'POST /api/messages/:id/vote': () => ({ options: [] }),
    'POST /api/chats/:id/typing': () => ({}),
    'POST /api/contacts/:id/block': ({ instances }) => ({ instanceId: instances }),
    'POST /api/contacts/:id/unblock': ({ instances }) => ({ instanceId: instances }),
    'PATCH /api/webhooks/:id': () => ({ enabled: false }),
    'POST /api/webhooks/:id/replay': () => ({ since: '2026-11-20T00:00:00Z' }),
    'PATCH /api/contacts/:id': () => ({ name: 'taken' }),
    'POST /api/contacts/check': ({ instances }) => ({ instanceId: instances, numbers: ['+5511987654321'] }),
    'POST /api/messages': ({ instances }) => ({
      instanceId: instances,
      to: '+5511987654321',
      type: 'text',
      text: { body: 'x' },
    }),
    'POST /api/webhooks': ({ instances }) => ({ url: 'https://93.184.216.34/', instanceId: instances }),
  }

  it('is not there for another, by any route that names it', async () => {
    const owned = await buildThings(DEFAULT_TENANT_ID)
    const stranger = await http.newKey({ tenantId: await http.newTenant() })
    const routes = http.server.routes.filter(({ method, url }) => method !== 'HEAD' && /^\/api\/.*:id/.test(url))
    expect(routes.length).toBeGreaterThan(15)
    for (const { method, url } of routes) {
      const resource = /([^/]+)\/:id/.exec(url)?.[1] as keyof Things
      const id = owned[resource]
      expect(id, `no example for ${url}: add one to buildThings`).toBeDefined()
      const body = bodies[`${method} ${url}`]?.(owned)
      const answer = await http.ask(method, url.replace(':id', id).replace(':groupId', GROUP), {
        key: stranger,
        ...(body && { body }),
      })
      expect(answer.json, `${method} ${url}`).toMatchObject({ status: 404, code: 'not_found' })
    }
  })

  it('cannot be named in what another makes', async () => {
    const owned = await buildThings(DEFAULT_TENANT_ID)
    const stranger = await http.newKey({ tenantId: await http.newTenant() })
    for (const route of ['POST /api/messages', 'POST /api/webhooks', 'POST /api/contacts/check']) {
      const [method = '', url = ''] = route.split(' ')
      const answer = await http.ask(method, url, { key: stranger, body: bodies[route]?.(owned) })
      expect(answer.json, route).toMatchObject({ status: 404, code: 'not_found' })
    }
  })

  it('is in no list of another, and in its own', async () => {
    const owned = await buildThings(DEFAULT_TENANT_ID)
    const owner = await http.newKey()
    const stranger = await http.newKey({ tenantId: await http.newTenant() })
    for (const resource of [
      'instances',
      'messages',
      'chats',
      'contacts',
      'webhooks',
      'events',
      'keys',
      'dead-letters',
    ] as const) {
      expect((await http.ask('GET', `/api/${resource}?limit=200`, { key: owner })).text).toContain(owned[resource])
      expect((await http.ask('GET', `/api/${resource}?limit=200`, { key: stranger })).text).not.toContain(
        owned[resource],
      )
    }
  })
})

type Things = Record<
  | 'instances'
  | 'messages'
  | 'chats'
  | 'contacts'
  | 'media'
  | 'webhooks'
  | 'deliveries'
  | 'events'
  | 'keys'
  | 'dead-letters',
  string
>

/** One of each, as public ids. */
async function buildThings(tenantId: TenantId): Promise<Things> {
  const { db } = database
  const next = <Prefix extends IdPrefix>(prefix: Prefix) => base.ids.next(prefix)
  const [contact, chat, message] = [next('con'), next('cht'), next('msg')]
  const [endpoint, event, delivery, job, key] = [next('whe'), next('evt'), next('dlv'), next('job'), next('key')]
  const media = next('med')
  const instance = await buildInstance(db, tenantId)
  await db.execute(sql`insert into contact (id, tenant_id) values (${contact}, ${tenantId})`)
  await db.execute(sql`
    insert into chat (id, tenant_id, instance_id, contact_id) values (${chat}, ${tenantId}, ${instance}, ${contact})`)
  await db.execute(sql`
    insert into message (id, tenant_id, instance_id, chat_id, direction, whatsapp_id, type, content, origin, status)
    values (${message}, ${tenantId}, ${instance}, ${chat}, 'outbound', ${message}, 'text',
      '{"type":"text","text":{"body":"x"}}', 'api', 'sent')`)
  await db.execute(sql`insert into chat_activity values (${chat}, ${tenantId}, ${instance}, ${message})`)
  await db.execute(sql`
    insert into media (id, tenant_id, direction, state, storage_key)
    values (${media}, ${tenantId}, 'inbound', 'pending', 'nowhere')`)
  await db.execute(sql`
    insert into webhook_endpoint (id, tenant_id, url, secret_sealed) values (${endpoint}, ${tenantId}, 'https://x.test/', '')`)
  await db.execute(sql`
    insert into event (id, tenant_id, seq, type, instance_id, subject_id)
    values (${event}, ${tenantId}, (select coalesce(max(seq), 0) + 1 from event where tenant_id = ${tenantId}),
      'message.sent', ${instance}, ${message})`)
  await db.execute(sql`
    insert into delivery (id, tenant_id, endpoint_id, event_id) values (${delivery}, ${tenantId}, ${endpoint}, ${event})`)
  await db.execute(sql`
    insert into job (id, tenant_id, kind, subject_id, state, attempt, error, died_at)
    values (${job}, ${tenantId}, 'fan-out', ${event}, 'dead', 3, 'x', now())`)
  const { clearKey: _, ...secret } = newSecret()
  await db.tenantTx(tenantId, (tx) =>
    insertKey(tx, tenantId, { ...secret, id: key, name: 'x', scopes: ['read'], expiresAt: null }),
  )
  return {
    instances: publicId('ins', instance),
    contacts: publicId('con', contact),
    messages: publicId('msg', message),
    chats: publicId('cht', chat),
    media: publicId('med', media),
    webhooks: publicId('whe', endpoint),
    deliveries: publicId('dlv', delivery),
    events: publicId('evt', event),
    keys: publicId('key', key),
    'dead-letters': publicId('job', job),
  }
}
