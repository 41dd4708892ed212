import { randomBytes } from 'node:crypto'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js'
import { buildInstance, buildTenant, takeLease } from '../../../test/support/factories.js'
import { createTestServer, type TestServer } from '../../../test/support/http-server.js'
import { systemClock } from '../../kernel/clock.js'
import { createIdGenerator, type InstanceId, publicId } from '../../kernel/ids.js'
import { readerOf } from '../../platform/database/reader.js'
import { createAddressBook } from '../contacts/address-book.js'
import { createNews, type News } from '../instances/news.js'
import { DEFAULT_TENANT_ID } from '../tenants/tenant.js'
import { claimHeads, settleHeads } from './lane-store.js'
import { messageListRoutes } from './message-list-routes.js'
import { messageRoutes } from './message-routes.js'
import { createMessageQueue } from './queue-message.js'

const ids = createIdGenerator()
const aReaction = { messageId: 'msg_01J8Z3V9K7QW5XN2M4T6R8Y0BC', emoji: '👍' }
let database: TestDatabase
let http: TestServer
let news: News
let key: string
let instanceId: InstanceId

beforeAll(async () => {
  database = await createTestDatabase()
  const { db } = database
  news = createNews({ db, clock: systemClock })
  await news.start()
  const addressBook = createAddressBook({ db, ids })
  const newWhatsappId = () => `3EB0${randomBytes(9).toString('hex').toUpperCase()}`
  const queue = createMessageQueue({ db, ids, clock: systemClock, addressBook, newWhatsappId })
  http = await createTestServer({
    db,
    modules: () => [messageRoutes({ db, queue, news }), messageListRoutes({ reader: readerOf(db) })],
  })
  key = await http.newKey()
})
afterAll(async () => {
  await http.stop()
  await news.stop()
  await database.drop()
})
beforeEach(async () => {
  instanceId = await buildInstance(database.db, DEFAULT_TENANT_ID)
})

describe('POST /api/messages', () => {
  test('answers 202 with both ids, and the message can be read and listed', async () => {
    const answer = await post({ metadata: { order: 7 } })
    expect(answer.status).toBe(202)
    expect(answer.json).toMatchObject({ status: 'queued', whatsappId: expect.stringMatching(/^3EB0[0-9A-F]{18}$/) })
    const read = await http.ask('GET', answer.json.links.self, { key })
    expect(read.json).toMatchObject({
      id: answer.json.id,
      whatsappId: answer.json.whatsappId,
      instanceId: publicId('ins', instanceId),
      direction: 'outbound',
      chat: { phone: '+5511987654321', waId: '5511987654321' },
      type: 'text',
      text: { body: 'oi' },
      status: 'queued',
      origin: 'api',
      metadata: { order: 7 },
    })
    const list = await http.ask('GET', `/api/messages?instanceId=${publicId('ins', instanceId)}`, { key })
    expect(list.json).toMatchObject({ data: [{ id: answer.json.id }], nextCursor: null })
  })

  test.each([
    ['no recipient', { to: undefined }, 400, 'invalid_request', '/to'],
    ['a type that does not exist', { type: 'telepathy' }, 400, 'invalid_request', '/type'],
    ['an empty text', { text: { body: '' } }, 400, 'invalid_request', '/text/body'],
    ['a text that is too long', { text: { body: 'x'.repeat(65_537) } }, 400, 'invalid_request', '/text/body'],
    ['a NUL in a text', { text: { body: 'a\0b' } }, 400, 'invalid_request', '/text/body'],
    ['half a surrogate pair', { metadata: { note: '\ud800' } }, 400, 'invalid_request', '/metadata'],
    ['an answer to no id', { context: { messageId: 'msg_1' } }, 400, 'invalid_request', '/context/messageId'],
    ['an option that does not exist', { text: { body: 'x', colour: 'red' } }, 400, 'invalid_request', '/text/colour'],
    ['a poll with one option', poll(['only']), 400, 'invalid_request', '/poll/options'],
    ['a poll with an option twice', poll(['a', 'a']), 400, 'invalid_request', '/poll/options'],
    ['a place that is nowhere', location(91), 400, 'invalid_request', '/location/latitude'],
    ['ten thousand mentions', mentions(10_000), 400, 'invalid_request', '/text/mentions'],
    [
      'a reaction with a recipient',
      { type: 'reaction', text: undefined, reaction: aReaction },
      400,
      'invalid_request',
      '/to',
    ],
    ['an id of another kind', { instanceId: 'msg_01J8Z3V9K7QW5XN2M4T6R8Y0BC' }, 400, 'invalid_request', '/instanceId'],
    ['a number with letters', { to: '+55 eleven' }, 400, 'invalid_number', '/to'],
    ['a number that is too short', { to: '+5511' }, 400, 'invalid_number', '/to'],
  ])('refuses %s, naming the field, and stores nothing', async (_what, change, status, code, pointer) => {
    const answer = await post(change)
    expect(answer.status).toBe(status)
    expect(answer.headers['content-type']).toContain('application/problem+json')
    expect(answer.json).toMatchObject({ code, status })
    expect(answer.json.errors.map((error: { pointer: string }) => error.pointer)).toContain(pointer)
    expect(await countMessages()).toBe(0)
  })

  test('refuses an unknown, a foreign, a deleted and a disabled instance, each for what it is', async () => {
    const foreign = await buildInstance(database.db, await buildTenant(database.db))
    const disabled = await buildInstance(database.db, DEFAULT_TENANT_ID, { enabled: false })
    const deleted = await buildInstance(database.db, DEFAULT_TENANT_ID)
    await database.db.execute(sql`update instance set deleted_at = now() where id = ${deleted}`)
    for (const id of [ids.next('ins'), foreign, deleted]) {
      expect(await post({ instanceId: publicId('ins', id) })).toMatchObject({
        status: 404,
        json: { code: 'not_found' },
      })
    }
    const answer = await post({ instanceId: publicId('ins', disabled) })
    expect(answer).toMatchObject({ status: 409, json: { code: 'instance_disabled' } })
    expect(answer.json.action).toContain('enable')
  })
})

describe('Idempotency-Key', () => {
  test('the same request again gets the same answer and makes no second message', async () => {
    const first = await post({}, 'once')
    const again = await post({}, 'once')
    expect(again.status).toBe(202)
    expect(again.json).toEqual(first.json)
    expect(again.headers['idempotent-replayed']).toBe('true')
    expect(first.headers['idempotent-replayed']).toBeUndefined()
    expect(await countMessages()).toBe(1)
  })

  test('another request under the key is refused with 422', async () => {
    await post({}, 'mine')
    const other = await post({ text: { body: 'something else' } }, 'mine')
    expect(other).toMatchObject({ status: 422, json: { code: 'idempotency_key_reused' } })
    expect(await countMessages()).toBe(1)
  })

  test('a thousand equal requests at once make one message; who comes too early is told to come back', async () => {
    const answers = await Promise.all(Array.from({ length: 1_000 }, () => post({}, 'storm')))
    const accepted = answers.filter(({ status }) => status === 202)
    // On a slow machine a thousand at once may also be more than it takes.
    const early = answers.filter(({ status }) => status === 409 || status === 503)
    expect(accepted.length + early.length).toBe(1_000)
    expect(accepted.length).toBeGreaterThan(0)
    expect(new Set(accepted.map(({ json }) => json.id)).size).toBe(1)
    for (const { status, json, headers } of early) {
      expect(json.code).toBe(status === 409 ? 'idempotency_in_progress' : 'overloaded')
      expect(headers['retry-after']).toBe('1')
    }
    expect(await countMessages()).toBe(1)
  })

  test('a key whose time is over may be used again', async () => {
    const first = await post({}, 'old')
    await database.db.execute(sql`update idempotency set expires_at = now() - interval '1 second' where key = 'old'`)
    const again = await post({}, 'old')
    expect(again.status).toBe(202)
    expect(again.json.id).not.toBe(first.json.id)
  })

  test('a refused request keeps no key', async () => {
    expect((await post({ to: '+5511' }, 'free')).status).toBe(400)
    expect((await post({}, 'free')).status).toBe(202)
  })
})

test('?wait= holds the answer until WhatsApp acknowledged the message', async () => {
  const answering = http.ask('POST', '/api/messages?wait=30', { key, body: body({}) })
  await acknowledgeOne()
  expect((await answering).json.status).toBe('sent')
})

test('?wait= gives up when its time is over, and says what is true', async () => {
  const answer = await http.ask('POST', '/api/messages?wait=1', { key, body: body({}) })
  expect(answer).toMatchObject({ status: 202, json: { status: 'queued' } })
})

test('lists page by cursor, newest first, without a gap or a double', async () => {
  for (let n = 1; n <= 5; n++) await post({ text: { body: `#${n}` } })
  const seen: string[] = []
  let cursor = ''
  do {
    const { json } = await http.ask('GET', `/api/messages?limit=2&instanceId=${publicId('ins', instanceId)}${cursor}`, {
      key,
    })
    seen.push(...json.data.map((message: { text: { body: string } }) => message.text.body))
    cursor = json.nextCursor ? `&cursor=${json.nextCursor}` : ''
  } while (cursor)
  expect(seen).toEqual(['#5', '#4', '#3', '#2', '#1'])
})

test('a cursor that is none, an unknown message: each has its own answer', async () => {
  expect(await http.ask('GET', '/api/messages?cursor=nonsense', { key })).toMatchObject({ status: 400 })
  const unknown = await http.ask('GET', `/api/messages/${publicId('msg', ids.next('msg'))}`, { key })
  expect(unknown).toMatchObject({ status: 404, json: { code: 'not_found' } })
})

// Helpers

const body = (change: object) => ({
  instanceId: publicId('ins', instanceId),
  to: '+5511987654321',
  type: 'text',
  text: { body: 'oi' },
  ...change,
})

function post(change: object, idempotencyKey?: string) {
  const headers = idempotencyKey === undefined ? {} : { 'idempotency-key': idempotencyKey }
  return http.ask('POST', '/api/messages', { key, body: body(change), headers })
}

async function countMessages(): Promise<number> {
  const [row] = await database.db.query<{ n: number }>(
    sql`select count(*)::int as n from message where instance_id = ${instanceId}`,
  )
  return row?.n ?? 0
}

async function acknowledgeOne(): Promise<void> {
  const { db } = database
  const lease = await takeLease(db, instanceId)
  for (;;) {
    const [head] = await claimHeads(db, lease, instanceId, 1)
    if (!head) continue
    const outcome = { to: 'sent', at: new Date() } as const
    await settleHeads(db, [{ fence: lease, instanceId, head, outcome, eventId: ids.next('evt') }])
    return
  }
}

function poll(options: readonly string[]) {
  return { type: 'poll', text: undefined, poll: { question: '?', options } }
}
function location(latitude: number) {
  return { type: 'location', text: undefined, location: { latitude, longitude: 0 } }
}
function mentions(count: number) {
  return { text: { body: 'all', mentions: Array.from({ length: count }, (_, index) => `+55119${10_000_000 + index}`) } }
}
