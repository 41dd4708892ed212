import sql from 'sql-template-tag'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js'
import { type AskOptions, createTestServer, type TestServer } from '../../../test/support/http-server.js'
import { AppError } from '../../kernel/errors.js'
import { claimKey, deleteExpiredKeys, storeAnswer } from './idempotency-store.js'
import type { App } from './route.js'

let database: TestDatabase
let http: TestServer
let key: string
let runs = 0
/** What the handler waits for, and what it does then. */
let gate: Promise<void> = Promise.resolve()
let failure: Error | undefined
let keySequence = 0
let idempotencyKey = ''

beforeAll(async () => {
  database = await createTestDatabase()
  http = await createTestServer({ db: database.db, modules: () => [orders] })
  key = await http.newKey()
})
beforeEach(() => {
  runs = 0
  gate = Promise.resolve()
  failure = undefined
  keySequence += 1
  idempotencyKey = `key-${keySequence}`
})
afterAll(async () => {
  await http?.stop()
  await database?.drop()
})

function orders(app: App): void {
  const schema = { body: z.object({ item: z.string() }).optional(), response: { 201: z.object({ run: z.number() }) } }
  app.post('/api/orders', { config: { scope: 'send' }, schema }, async (_request, reply) => {
    runs += 1
    const run = runs
    await gate
    if (failure) throw failure
    return reply.code(201).header('location', `/api/orders/${run}`).send({ run })
  })
  app.delete('/api/orders/:id', { config: { scope: 'delete' } }, async (_request, reply) => {
    runs += 1
    return reply.code(204).send()
  })
}

const order = (options: AskOptions = {}) =>
  http.ask('POST', '/api/orders', {
    key,
    body: { item: 'a' },
    ...options,
    headers: { 'idempotency-key': idempotencyKey, ...options.headers },
  })

describe('a repeated request', () => {
  it('gets the first answer again, byte for byte, and says so', async () => {
    const first = await order()
    const second = await order()
    expect(first).toMatchObject({ status: 201, json: { run: 1 } })
    expect(first.headers['idempotent-replayed']).toBeUndefined()
    expect(second).toMatchObject({ status: 201, text: first.text })
    expect(second.headers).toMatchObject({
      'idempotent-replayed': 'true',
      location: '/api/orders/1',
      'content-type': first.headers['content-type'],
    })
    expect(runs).toBe(1)
  })

  it('is recognised whatever the order of its fields and the name of its path', async () => {
    await order({ body: { item: 'a', note: { x: 1, y: [2] } } })
    const again = await http.ask('POST', '/api/orders?wait=5', {
      key,
      body: '{ "note": {"y":[2], "x":1}, "item": "a" }',
      headers: { 'idempotency-key': idempotencyKey },
    })
    expect(again.headers['idempotent-replayed']).toBe('true')
  })

  it('without a body is recognised as well', async () => {
    const drop = () => http.ask('DELETE', '/api/orders/1', { key, headers: { 'idempotency-key': idempotencyKey } })
    expect(await drop()).toMatchObject({ status: 204, text: '' })
    const again = await drop()
    expect(again).toMatchObject({ status: 204, text: '' })
    expect(again.headers['idempotent-replayed']).toBe('true')
    expect(runs).toBe(1)
  })

  it('is refused while the first one runs', async () => {
    let open = () => {}
    gate = new Promise((resolve) => {
      open = resolve
    })
    const first = order()
    await expect.poll(() => runs).toBe(1)
    const second = await order()
    expect(second).toMatchObject({ status: 409, json: { code: 'idempotency_in_progress', retryAfter: 1 } })
    expect(second.headers['retry-after']).toBe('1')
    open()
    expect((await first).status).toBe(201)
  })

  it('of fifty at once, one runs', async () => {
    const answers = await Promise.all(Array.from({ length: 50 }, () => order()))
    expect(runs).toBe(1)
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([201, 409]))
    expect(await order()).toMatchObject({ status: 201, json: { run: 1 } })
  })
})

describe('another request', () => {
  it('under a used key is refused', async () => {
    await order()
    expect(await order({ body: { item: 'b' } })).toMatchObject({
      status: 422,
      json: { code: 'idempotency_key_reused' },
    })
  })

  it('to another path under the same key is refused', async () => {
    const headers = { 'idempotency-key': idempotencyKey }
    await http.ask('DELETE', '/api/orders/1', { key, headers })
    expect(await http.ask('DELETE', '/api/orders/2', { key, headers })).toMatchObject({ status: 422 })
  })

  it('of another route or tenant is its own, whatever its key', async () => {
    await order()
    const other = await http.newKey({ tenantId: await http.newTenant() })
    expect((await order({ key: other })).headers['idempotent-replayed']).toBeUndefined()
    await http.ask('DELETE', '/api/orders/1', { key, headers: { 'idempotency-key': idempotencyKey } })
    expect(runs).toBe(3)
  })
})

describe('a key', () => {
  it.each(['', ' ', 'with space', 'ünïcode', 'x'.repeat(256)])('%j is not usable', async (bad) => {
    const answer = await order({ headers: { 'idempotency-key': bad } })
    expect(answer).toMatchObject({ status: 400, json: { code: 'idempotency_key_invalid' } })
  })

  it('is given back when the request fails on our side', async () => {
    failure = new Error('broken')
    expect((await order()).status).toBe(500)
    failure = undefined
    expect(await order()).toMatchObject({ status: 201, json: { run: 2 } })
  })

  it('is given back when the refusal may be gone next time', async () => {
    failure = new AppError('instance_not_connected')
    expect((await order()).status).toBe(409)
    failure = undefined
    expect((await order()).status).toBe(201)
  })

  it('keeps a refusal that stays', async () => {
    failure = new AppError('not_on_whatsapp', { detail: 'first' })
    const first = await order()
    failure = undefined
    expect(await order()).toMatchObject({ status: 422, text: first.text })
  })

  it('is not used up by a request that does not fit its schema', async () => {
    expect((await order({ body: { item: 7 } })).status).toBe(400)
    expect((await order()).status).toBe(201)
  })
})

describe('a stored answer', () => {
  it('is not readable in the database', async () => {
    await order()
    const rows = await database.db.query<{ response: unknown }>(
      sql`select response from idempotency where key = ${idempotencyKey}`,
    )
    expect(JSON.stringify(rows)).not.toContain('run')
  })

  it('of a process that died is taken over when its time is up, and the dead one cannot answer any more', async () => {
    const tenantId = await http.newTenant()
    const identity = { route: 'POST /x', key: 'k', fingerprint: Buffer.alloc(32) }
    const first = await claimKey(database.db, tenantId, identity)
    expect((await claimKey(database.db, tenantId, identity)).state).toBe('running')
    await database.db.execute(
      sql`update idempotency set running_until = now() - interval '1 second' where tenant_id = ${tenantId}`,
    )
    expect((await claimKey(database.db, tenantId, identity)).state).toBe('claimed')
    if (first.state !== 'claimed') throw new Error('the first claim must succeed')
    expect(await storeAnswer(database.db, tenantId, first.claim, { status: 200, response: {} })).toBe(false)
  })

  it('is forgotten after its day', async () => {
    await order()
    await database.db.execute(
      sql`update idempotency set expires_at = now() - interval '1 second' where key = ${idempotencyKey}`,
    )
    expect(await order({ body: { item: 'b' } })).toMatchObject({ status: 201, json: { run: 2 } })
    await database.db.execute(
      sql`update idempotency set expires_at = now() - interval '1 second' where key = ${idempotencyKey}`,
    )
    expect(await deleteExpiredKeys(database.db)).toBe(1)
  })
})
