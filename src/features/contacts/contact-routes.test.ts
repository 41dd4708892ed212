/** The routes of contacts, with the holder of a number behind them. */

import sql from 'sql-template-tag'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type Connected, createGatewayWorld, type GatewayWorld } from '../../../test/support/gateway-world.js'
import { createTestServer, type TestServer } from '../../../test/support/http-server.js'
import { systemClock } from '../../kernel/clock.js'
import { type ContactId, createIdGenerator, publicId } from '../../kernel/ids.js'
import { readerOf } from '../../platform/database/reader.js'
import { listEvents } from '../events/event-store.js'
import { createNumberAsker } from '../instances/ask-numbers.js'
import { numberChecks } from '../instances/check-numbers.js'
import { createNews, type News } from '../instances/news.js'
import { type AddressBook, createAddressBook } from './address-book.js'
import { createCheckNumbers } from './check-numbers.js'
import { contactRoutes } from './contact-routes.js'

const ids = createIdGenerator()
let world: GatewayWorld
let http: TestServer
let news: News
let book: AddressBook
let key: string
/** How long the routes wait for the holder of a number. */
const patience = { deadlineMs: 30_000 }

beforeAll(async () => {
  world = await createGatewayWorld()
  const { db } = world
  news = createNews({ db, clock: systemClock })
  await news.start()
  book = createAddressBook({ db, ids })
  const whatsapp = createNumberAsker(Object.assign(patience, { db, ids, news }))
  const checkNumbers = createCheckNumbers({ db, addressBook: book, whatsapp })
  http = await createTestServer({ db, modules: () => [contactRoutes({ db, reader: readerOf(db), ids, checkNumbers })] })
})
beforeEach(async () => {
  await world.begin()
  key = await http.newKey({ tenantId: world.tenantId })
})
afterEach(() => world.end())
afterAll(async () => {
  await http.stop()
  await news.stop()
  await world.drop()
})

const get = async (path: string) => (await http.ask('GET', `/api/contacts${path}`, { key })).json
const con = (contactId: ContactId) => publicId('con', contactId)

describe('reading', () => {
  test('pages through contacts, the newest first, each once', async () => {
    const { id } = await world.connected()
    for (let n = 0; n < 7; n++) await book.chatWith(world.tenantId, id, { kind: 'lid', value: `55${n}` })
    const lids: string[] = []
    for (let cursor = ''; cursor !== null; ) {
      const page = await get(`?limit=3${cursor && `&cursor=${cursor}`}`)
      lids.push(...page.data.map((contact: { lid: string }) => contact.lid))
      cursor = page.nextCursor
    }
    expect(lids).toEqual(['556', '555', '554', '553', '552', '551', '550'])
    expect(await http.ask('GET', '/api/contacts?cursor=msg_x', { key })).toMatchObject({ status: 400 })
  })

  test('finds by name, by digits however they are written, by username, and by instance', async () => {
    const { id } = await world.connected()
    const ana = await book.chatAt(world.tenantId, id, { waId: '5511987654321', lid: '77', username: 'ana.souza' })
    const bea = await book.chatWith(world.tenantId, id, { kind: 'phone', value: '+14155550123' })
    await book.rename(world.tenantId, ana.contactId, 'Ana 100%_sure')
    const found = async (q: string) =>
      (await get(`?q=${encodeURIComponent(q)}`)).data.map(({ id: found }: { id: string }) => found)
    for (const q of ['ana', '100%', '%_', '98765-4321', '+55 11 98765', '@ana.s', '5511987654321', 'SOUZA']) {
      expect(await found(q), q).toEqual([con(ana.contactId)])
    }
    expect(await found('415555')).toEqual([con(bea.contactId)])
    expect(await found('%')).toEqual([con(ana.contactId)])
    expect(await found('nobody')).toEqual([])
    const ins = publicId('ins', id)
    expect((await get(`?instanceId=${ins}`)).data).toHaveLength(2)
    expect((await get(`?instanceId=${publicId('ins', ids.next('ins'))}`)).data).toEqual([])
  })

  test('shows all identities, names and chats, and follows a merge', async () => {
    const { id } = await world.connected()
    const byLid = await book.chatWith(world.tenantId, id, { kind: 'lid', value: '77' })
    const byPhone = await book.chatWith(world.tenantId, id, { kind: 'phone', value: '+5511987654321' })
    await book.chatAt(world.tenantId, id, { waId: '5511987654321', lid: '77', username: 'ana' })
    const seen = await get(`/${con(byPhone.contactId)}`)
    expect(seen).toMatchObject({
      id: con(byPhone.contactId),
      phone: '+5511987654321',
      waId: '5511987654321',
      lid: '77',
      username: 'ana',
      bsuid: null,
      names: { given: null, saved: null, push: null },
      chats: [{ id: publicId('cht', byPhone.chatId), instanceId: publicId('ins', id) }],
    })
    expect(seen.identities.map(({ kind, value }: { kind: string; value: string }) => [kind, value])).toEqual([
      ['username', 'ana'],
      ['phone', '+5511987654321'],
      ['phone', '+551187654321'],
      ['lid', '77'],
    ])
    expect(await get(`/${con(byLid.contactId)}`)).toEqual(seen)
  })
})

describe('naming', () => {
  test('gives a name of our own and takes it away, and tells', async () => {
    const { id } = await world.connected()
    const { contactId } = await book.chatWith(world.tenantId, id, { kind: 'lid', value: '77' })
    await book.rename(world.tenantId, contactId, 'push')
    const name = (body: object) => http.ask('PATCH', `/api/contacts/${con(contactId)}`, { key, body })
    expect((await name({ name: '  Ana from the bakery ' })).json).toMatchObject({
      name: 'Ana from the bakery',
      names: { given: 'Ana from the bakery', push: 'push' },
    })
    await name({ name: 'Ana from the bakery' })
    expect((await name({ name: null })).json).toMatchObject({ name: 'push', names: { given: null } })
    for (const bad of ['', 'a\u0000b', '\ud800', 'x'.repeat(201)])
      expect(await name({ name: bad })).toMatchObject({ status: 400 })
    const events = await listEvents(world.db, world.tenantId, { after: 0n, types: ['contact.updated'], limit: 10 })
    expect(events.map(({ data }) => data)).toEqual([
      { reason: 'renamed', name: 'Ana from the bakery' },
      { reason: 'renamed', name: 'push' },
    ])
  })
})

describe('checking numbers', () => {
  const check = ({ id }: Pick<Connected, 'id'>, numbers: readonly string[]) =>
    http.ask('POST', '/api/contacts/check', { key, body: { instanceId: publicId('ins', id), numbers } })

  async function connected(): Promise<Connected & { readonly asked: string[] }> {
    const here = await world.connected({ attachments: [numberChecks] })
    const asked: string[] = []
    here.connection.answerChecks((waId) => {
      asked.push(waId)
      if (waId === '5511900000000') return { exists: false }
      return { exists: true, waId: waId.replace(/^(55\d\d)9/, '$1'), lid: `9${waId}` }
    })
    return { ...here, asked }
  }

  test('asks WhatsApp once, in the order of the inputs, and makes no contact', async () => {
    const here = await connected()
    const answer = await check(here, ['+55 (11) 98765-4321', '5511900000000', '5511987654321@s.whatsapp.net'])
    expect(answer.status).toBe(200)
    const known = {
      exists: true,
      phone: '+5511987654321',
      waId: '551187654321',
      lid: '95511987654321',
      contactId: null,
    }
    expect(answer.json.data).toMatchObject([
      { input: '+55 (11) 98765-4321', ...known },
      { input: '5511900000000', exists: false, phone: '+5511900000000', waId: null, lid: null, contactId: null },
      { input: '5511987654321@s.whatsapp.net', ...known },
    ])
    expect((await check(here, ['+5511987654321', '+5511900000000'])).json.data).toMatchObject([
      known,
      { exists: false },
    ])
    expect(here.asked).toEqual(['5511987654321', '5511900000000'])
    expect((await get('')).data).toEqual([])
  })

  test('names the contact that has the number, and learns who answers', async () => {
    const here = await connected()
    const { contactId } = await book.chatWith(world.tenantId, here.id, { kind: 'phone', value: '+5511987654321' })
    expect((await check(here, ['+5511987654321'])).json.data).toMatchObject([{ contactId: con(contactId) }])
    expect(await get(`/${con(contactId)}`)).toMatchObject({ waId: '551187654321', lid: '95511987654321' })
  })

  test('what WhatsApp said is believed for a time', async () => {
    const here = await connected()
    await check(here, ['+5511987654321', '+5511900000000'])
    const age = (days: number) =>
      world.db.execute(sql`
      update contact_identity set checked_at = now() - make_interval(days => ${days})
      where tenant_id = ${world.tenantId}`)
    await age(2)
    await check(here, ['+5511987654321', '+5511900000000'])
    expect(here.asked.slice(2)).toEqual(['5511900000000'])
    await age(31)
    await check(here, ['+5511987654321', '+5511900000000'])
    expect(here.asked.slice(3)).toEqual(['5511987654321', '5511900000000'])
  })

  test('beyond the pace of the instance nothing is asked, and the answer says when', async () => {
    const here = await connected()
    const numbers = (from: number, count: number) =>
      Array.from({ length: count }, (_, n) => `+5511987${100_000 + from + n}`)
    expect((await check(here, numbers(0, 100))).status).toBe(200)
    const refused = await check(here, numbers(200, 10))
    expect(refused).toMatchObject({ status: 429, json: { code: 'rate_limited' } })
    const seconds = Number(refused.headers['retry-after'])
    expect(seconds).toBeGreaterThan(0)
    expect(seconds).toBeLessThanOrEqual(30)
    expect(here.asked).toHaveLength(100)
    // What is known costs nothing.
    expect((await check(here, numbers(0, 100))).status).toBe(200)
    await world.db.execute(sql`update number_check_pace set free_at = free_at - interval '30 seconds'`)
    expect((await check(here, numbers(200, 10))).status).toBe(200)
  })

  test('many requests at once never get more than the pace', async () => {
    const here = await connected()
    const answers = await Promise.all(
      Array.from({ length: 12 }, (_, n) =>
        check(
          here,
          Array.from({ length: 20 }, (_x, m) => `+55119876${10_000 + n * 20 + m}`),
        ),
      ),
    )
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(5)
    expect(answers.filter(({ status }) => status === 429)).toHaveLength(7)
    expect(here.asked).toHaveLength(100)
  })

  test.each([
    ['no number', { numbers: [] }, 'invalid_request', '/numbers'],
    ['too many', { numbers: Array.from({ length: 101 }, () => '+5511987654321') }, 'invalid_request', '/numbers'],
    ['one that is none', { numbers: ['+5511987654321', 'maria'] }, 'invalid_number', '/numbers/1'],
    ['a LID', { numbers: ['77@lid'] }, 'invalid_number', '/numbers/0'],
    ['an unknown field', { numbers: ['+5511987654321'], force: true }, 'invalid_request', undefined],
  ])('%s is refused by name', async (_what, body, code, pointer) => {
    const here = await connected()
    const answer = await http.ask('POST', '/api/contacts/check', {
      key,
      body: { instanceId: publicId('ins', here.id), ...body },
    })
    expect(answer).toMatchObject({ status: 400, json: { code } })
    if (pointer) expect(answer.json.errors[0].pointer).toBe(pointer)
    expect(here.asked).toEqual([])
  })

  test('an instance that is away, disabled or unknown says so', async () => {
    const here = await connected()
    here.connection.emit({ type: 'close', reason: 'CONNECTION_LOST', detail: 'cut' })
    await here.gateway.whatsapp.connection(2)
    expect(await check(here, ['+5511987654321'])).toMatchObject({
      status: 409,
      json: { code: 'instance_not_connected' },
    })
    await here.gateway.change.disable(world.tenantId, here.id)
    expect(await check(here, ['+5511987654321'])).toMatchObject({ status: 409, json: { code: 'instance_disabled' } })
    expect(await check({ id: ids.next('ins') }, ['+5511987654321'])).toMatchObject({ status: 404 })
  })

  test('a holder that never answers is a timeout, not a hang', async () => {
    const silent = { errands: { check_numbers: () => new Promise<never>(() => {}) } }
    const here = await world.connected({ attachments: [silent] })
    patience.deadlineMs = 300
    const answer = await check(here, ['+5511987654321'])
    patience.deadlineMs = 30_000
    expect(answer).toMatchObject({ status: 504, json: { code: 'command_timeout' } })
  })
})
