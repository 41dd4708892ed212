import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { buildInstance, buildTenant } from '../../../test/support/factories.js'
import { createWebhookWorld, type WebhookWorld } from '../../../test/support/webhook-world.js'
import { publicId } from '../../kernel/ids.js'

const url = 'http://127.0.0.1:9/hook'

let world: WebhookWorld
beforeAll(async () => {
  world = await createWebhookWorld()
})
afterAll(() => world.stop())

const create = (body: object = {}, options: { as?: string; headers?: Record<string, string> } = {}) =>
  world.api('POST', '/api/webhooks', { body: { url, ...body }, ...options })

describe('registering an endpoint', () => {
  it('shows the secret once and stores it sealed', async () => {
    const { status, body } = await create({ events: ['message.received', 'message.received'] })
    expect(status).toBe(201)
    expect(body).toMatchObject({
      id: expect.stringMatching(/^whe_/),
      url,
      events: ['message.received'],
      instanceId: null,
      format: 'standard',
      enabled: true,
      secret: expect.stringMatching(/^whsec_[A-Za-z0-9+/]{43}=$/),
    })
    const read = await world.api('GET', `/api/webhooks/${body.id}`)
    const { secret, ...rest } = body
    expect(read.body).toEqual(rest)
    const stored = await world.db.query<{ row: string }>(sql`select w::text as row from webhook_endpoint w`)
    const raw = Buffer.from(secret).toString('hex')
    for (const { row } of stored) {
      expect(row).not.toContain(secret)
      expect(row).not.toContain(raw)
    }
  })

  it('gives the same answer again, secret and all, under the same Idempotency-Key', async () => {
    const headers = { 'idempotency-key': 'one' }
    const first = await create({}, { headers })
    const second = await create({}, { headers })
    expect(second.body).toEqual(first.body)
    expect(second.headers.get('idempotent-replayed')).toBe('true')
    expect((await create({ events: ['message.sent'] }, { headers })).status).toBe(422)
    const stored = await world.db.query<{ response: unknown }>(sql`select response from idempotency`)
    expect(JSON.stringify(stored)).not.toContain(first.body.secret)
  })

  it.each([
    ['an address of this machine by another name', 'http://10.1.2.3/hook'],
    ['a foreign scheme', 'ftp://example.com/hook'],
    ['no URL at all', 'hook'],
    ['the metadata service', 'http://169.254.169.254/latest'],
  ])('refuses %s', async (_what, refused) => {
    const { status, body } = await create({ url: refused })
    expect(status).toBe(400)
    expect(body.code).toBe('endpoint_url_refused')
  })

  it.each([
    ['/events/0', { events: ['message.exploded'] }],
    ['/events/0', { events: ['message.queued'] }],
    ['/events', { events: [] }],
    ['/format', { format: 'evolution' }],
    ['/instanceId', { instanceId: 'whe_01J8Z3V9K7QW5XN2M4T6R8Y0BC' }],
    ['/url', { url: 42 }],
  ])('names the field %s that does not fit', async (pointer, body) => {
    const answer = await create(body)
    expect(answer.status).toBe(400)
    expect(answer.body.code).toBe('invalid_request')
    expect(answer.body.errors.map((error: { pointer: string }) => error.pointer)).toContain(pointer)
  })

  it('knows no instance of another tenant', async () => {
    const other = await buildTenant(world.db)
    const foreign = publicId('ins', await buildInstance(world.db, other))
    const own = publicId('ins', await buildInstance(world.db, world.tenantId))
    expect((await create({ instanceId: foreign })).status).toBe(404)
    expect((await create({ instanceId: own })).body.instanceId).toBe(own)
  })

  it('needs the scope settings', async () => {
    const { status, body } = await create({}, { as: world.keyOf(world.tenantId, ['read', 'send']) })
    expect(status).toBe(403)
    expect(body.code).toBe('forbidden_scope')
  })
})

describe('an endpoint', () => {
  it('is changed in the named members only', async () => {
    const { body } = await create({ events: ['message.sent'] })
    const change = (patch: object) => world.api('PATCH', `/api/webhooks/${body.id}`, { body: patch })
    expect((await change({ enabled: false })).body).toMatchObject({ enabled: false, events: ['message.sent'], url })
    expect((await change({ events: null })).body).toMatchObject({ enabled: false, events: null })
    expect((await change({ url: `${url}/2`, enabled: true })).body).toMatchObject({ enabled: true, url: `${url}/2` })
    expect((await change({ url: 'http://10.0.0.1/' })).body.code).toBe('endpoint_url_refused')
    expect((await change({ secret: 'mine' })).body.code).toBe('invalid_request')
  })

  it('is gone after it was deleted', async () => {
    const { body } = await create()
    const path = `/api/webhooks/${body.id}`
    expect((await world.api('DELETE', path)).status).toBe(204)
    for (const [method, to] of [
      ['GET', path],
      ['DELETE', path],
      ['POST', `${path}/test`],
      ['POST', `${path}/rotate-secret`],
      ['GET', `${path}/deliveries`],
    ] as const) {
      expect((await world.api(method, to)).status).toBe(404)
    }
    const ids = (await world.api('GET', '/api/webhooks?limit=200')).body.data.map(({ id }: { id: string }) => id)
    expect(ids).not.toContain(body.id)
  })

  it('of another tenant is not there', async () => {
    const { body } = await create()
    const as = world.keyOf(await buildTenant(world.db))
    const path = `/api/webhooks/${body.id}`
    expect((await world.api('GET', path, { as })).status).toBe(404)
    expect((await world.api('PATCH', path, { as, body: { enabled: false } })).status).toBe(404)
    expect((await world.api('POST', `${path}/rotate-secret`, { as })).status).toBe(404)
    expect((await world.api('POST', `${path}/test`, { as })).status).toBe(404)
    expect((await world.api('DELETE', path, { as })).status).toBe(404)
    expect((await world.api('GET', '/api/webhooks', { as })).body.data).toEqual([])
  })

  it('that is disabled is not tested', async () => {
    const { body } = await create()
    await world.api('PATCH', `/api/webhooks/${body.id}`, { body: { enabled: false } })
    const { status, body: problem } = await world.api('POST', `/api/webhooks/${body.id}/test`)
    expect(status).toBe(409)
    expect(problem.code).toBe('conflict')
  })

  it('shows until when the old secret signs, and another secret at each rotation', async () => {
    const { body } = await create()
    const rotate = () => world.api('POST', `/api/webhooks/${body.id}/rotate-secret`)
    const [first, second] = [(await rotate()).body, (await rotate()).body]
    expect(new Set([body.secret, first.secret, second.secret]).size).toBe(3)
    expect(Date.parse(second.oldSecretUntil)).toBeGreaterThan(Date.parse(body.createdAt))
  })
})

describe('the rotation of a secret', () => {
  it('keeps the old one for a day, or for as long as is asked', async () => {
    const { body } = await create()
    const rotate = async (asked?: object) => {
      const answer = await world.api('POST', `/api/webhooks/${body.id}/rotate-secret`, asked ? { body: asked } : {})
      expect(answer.status).toBe(200)
      const { oldSecretUntil, updatedAt } = answer.body
      return oldSecretUntil === null ? 0 : Math.round((Date.parse(oldSecretUntil) - Date.parse(updatedAt)) / 3_600_000)
    }
    expect(await rotate()).toBe(24)
    expect(await rotate({ overlapHours: 48 })).toBe(48)
    expect(await rotate({ overlapHours: 0 })).toBe(0)
  })

  it.each([-1, 169, '24', null])('refuses an overlap of %s', async (overlapHours) => {
    const { body } = await create()
    const path = `/api/webhooks/${body.id}/rotate-secret`
    const answer = await world.api('POST', path, { body: { overlapHours } })
    expect(answer).toMatchObject({ status: 400, body: { errors: [{ pointer: '/overlapHours' }] } })
  })
})

describe('lists', () => {
  it('are paged, the newest first, without gaps or doubles', async () => {
    const as = world.keyOf(await buildTenant(world.db))
    const made: string[] = []
    for (let n = 0; n < 5; n++) made.unshift((await create({}, { as })).body.id)
    const seen: string[] = []
    let query = '?limit=2'
    for (;;) {
      const { body } = await world.api('GET', `/api/webhooks${query}`, { as })
      seen.push(...body.data.map(({ id }: { id: string }) => id))
      if (body.nextCursor === null) break
      query = `?limit=2&cursor=${body.nextCursor}`
    }
    expect(seen).toEqual(made)
    expect((await world.api('GET', '/api/webhooks?cursor=nonsense', { as })).body.code).toBe('invalid_request')
  })

  it('of deliveries are paged and filtered by status; one shows its attempts', async () => {
    const { body: endpoint } = await create()
    for (let n = 0; n < 3; n++) await world.api('POST', `/api/webhooks/${endpoint.id}/test`)
    const path = `/api/webhooks/${endpoint.id}/deliveries`
    const first = await world.api('GET', `${path}?limit=2&status=pending`)
    expect(first.body.data).toHaveLength(2)
    const rest = await world.api('GET', `${path}?limit=2&status=pending&cursor=${first.body.nextCursor}`)
    expect(rest.body).toMatchObject({ data: [{ eventType: 'webhook.tested', attemptCount: 0 }], nextCursor: null })
    expect((await world.api('GET', `${path}?status=delivered`)).body.data).toEqual([])
    const one = await world.api('GET', `/api/deliveries/${rest.body.data[0].id}`)
    expect(one.body).toEqual({ ...rest.body.data[0], attempts: [] })
    const as = world.keyOf(await buildTenant(world.db))
    expect((await world.api('GET', `/api/deliveries/${one.body.id}`, { as })).status).toBe(404)
  })
})
