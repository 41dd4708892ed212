/** The list of chats and the messages of one. */

import sql from 'sql-template-tag'
import { beforeEach, describe, expect, test } from 'vitest'
import { buildInstance } from '../../../test/support/factories.js'
import type { TestServer } from '../../../test/support/http-server.js'
import { pagesTouched } from '../../../test/support/pages-touched.js'
import { useTestServer } from '../../../test/support/use-server.js'
import { type ChatId, createIdGenerator, type InstanceId, publicId, type TenantId } from '../../kernel/ids.js'
import type { Database } from '../../platform/database/database.js'
import { readerOf } from '../../platform/database/reader.js'
import type { InboundContent } from '../../platform/whatsapp/content.js'
import { type AddressBook, createAddressBook } from '../contacts/address-book.js'
import type { ChatRow } from '../contacts/chat-store.js'
import { acceptBatch } from './accept-store.js'
import { chatListRoutes } from './chat-list-routes.js'
import { listChats } from './chat-list-store.js'
import { storeInbound } from './ingest-store.js'

const ids = createIdGenerator()
const GROUP = '120363025246125486@g.us'
let db: Database
let http: TestServer
let book: AddressBook
let tenantId: TenantId
let instanceId: InstanceId
let key: string

useTestServer(
  (own) => [chatListRoutes({ reader: readerOf(own) })],
  (made) => {
    ;({ db, http } = made)
    book = createAddressBook({ db, ids })
  },
)
beforeEach(async () => {
  tenantId = await http.newTenant()
  key = await http.newKey({ tenantId, scopes: ['read'] })
  instanceId = await buildInstance(db, tenantId)
})

describe('the list of chats', () => {
  test('has the latest activity first, page by page, each chat once', async () => {
    const people = await Promise.all(Array.from({ length: 7 }, (_, n) => person(`55${n}`)))
    for (const one of people) await receive(one)
    const [first, , third] = people
    await receive(must(first))
    await send(must(third).chatId)
    const order = [2, 0, 6, 5, 4, 3, 1].map((n) => publicId('cht', must(people[n]).chatId))
    const found: string[] = []
    for (let cursor = ''; cursor !== null; ) {
      const page = await get('/api/chats', { limit: '3', ...(cursor && { cursor }) })
      found.push(...page.data.map(({ id }: { id: string }) => id))
      cursor = page.nextCursor
    }
    expect(found).toEqual(order)
    expect(await http.ask('GET', '/api/chats?cursor=cht_x', { key })).toMatchObject({ status: 400 })
  })

  test('shows with whom each is, and its newest message', async () => {
    const ana = await person('77', '5511987654321')
    await book.rename(tenantId, ana.contactId, 'Ana')
    await receive(ana, { type: 'text', text: { body: `a${'😀'.repeat(300)}` } })
    const group = await book.groupChat(tenantId, instanceId, GROUP)
    await db.execute(sql`update chat set subject = 'Família' where id = ${group}`)
    const picture = { mimeType: 'image/jpeg', caption: 'olha' }
    await receive({ ...ana, chatId: group }, { type: 'image', image: picture } as InboundContent)
    // Nothing was ever written to her.
    await person('78')
    const { data, nextCursor } = await get('/api/chats')
    expect(nextCursor).toBeNull()
    expect(data).toEqual([
      {
        ...{ id: publicId('cht', group), instanceId: publicId('ins', instanceId), contactId: null, name: 'Família' },
        ...{ phone: null, lid: null, username: null, bsuid: null, waId: null, groupJid: GROUP },
        lastMessage: expect.objectContaining({
          ...{ direction: 'inbound', type: 'image', preview: 'olha', status: 'received', deletedAt: null },
          sender: { phone: '+5511987654321', lid: '77', name: 'Ana' },
        }),
      },
      {
        ...{ id: publicId('cht', ana.chatId), instanceId: publicId('ins', instanceId) },
        ...{ contactId: publicId('con', ana.contactId), name: 'Ana', phone: '+5511987654321', lid: '77' },
        ...{ username: null, bsuid: null, waId: '5511987654321', groupJid: null },
        lastMessage: expect.objectContaining({ preview: `a${'😀'.repeat(99)}`, sender: null }),
      },
    ])
  })

  test('is of one instance, or of whose name, number or subject has it', async () => {
    const other = await buildInstance(db, tenantId)
    const ana = await person('77', '5511987654321')
    await book.rename(tenantId, ana.contactId, 'Ana 100%')
    const bia = await book.chatWith(tenantId, other, { kind: 'phone', value: '+14155550123' })
    const group = await book.groupChat(tenantId, instanceId, GROUP)
    await db.execute(sql`update chat set subject = 'Vendas 100% SP' where id = ${group}`)
    await receive(ana)
    await send(group)
    await send(bia.chatId, other)
    const found = async (query: Record<string, string>) =>
      (await get('/api/chats', query)).data.map(({ id }: { id: string }) => id)
    const [anaId, biaId, groupId] = [ana.chatId, bia.chatId, group].map((id) => publicId('cht', id as ChatId))
    expect(await found({ instanceId: publicId('ins', instanceId) })).toEqual([groupId, anaId])
    expect(await found({ instanceId: publicId('ins', other) })).toEqual([biaId])
    expect(await found({ q: '100%' })).toEqual([groupId, anaId])
    expect(await found({ q: 'vendas' })).toEqual([groupId])
    expect(await found({ q: '98765-4321' })).toEqual([anaId])
    expect(await found({ q: '415555', instanceId: publicId('ins', other) })).toEqual([biaId])
    expect(await found({ q: '415555', instanceId: publicId('ins', instanceId) })).toEqual([])
    expect(await found({ q: 'nobody' })).toEqual([])
  })

  test('has two chats that became one once, in its place, whatever was stored at that moment', async () => {
    const winner = await book.chatWith(tenantId, instanceId, { kind: 'phone', value: '+5511987654321' })
    const loser = await person('77')
    await send(winner.chatId)
    await receive(loser)
    await book.learn(tenantId, { waId: '5511987654321', lid: '77' })
    const bia = await person('78')
    await receive(bia)
    const chats = async () => (await get('/api/chats')).data.map(({ id }: { id: string }) => id)
    const [one, other] = [publicId('cht', winner.chatId), publicId('cht', bia.chatId)]
    expect(await chats()).toEqual([other, one])
    // As a statement leaves it that had looked up the chat before the merge.
    await db.execute(sql`
      with late as (
        update message set chat_id = ${loser.chatId} where chat_id = ${winner.chatId} and direction = 'outbound' returning id
      ) insert into chat_activity select ${loser.chatId}, ${tenantId}, ${instanceId}, id from late`)
    expect(await chats()).toEqual([other, one])
    await db.execute(sql`
      update chat_activity set last_message_id = (select id from message where chat_id = ${loser.chatId})
      where chat_id = ${winner.chatId}`)
    await db.execute(sql`
      update chat_activity set last_message_id = (select id from message where chat_id = ${winner.chatId})
      where chat_id = ${loser.chatId}`)
    expect(await chats()).toEqual([other, one])
    await receive(winner)
    expect(await chats()).toEqual([one, other])
  })

  test('is nobody else’s', async () => {
    const ana = await person('77', '5511987654321')
    await receive(ana)
    const foreign = await http.newKey({ tenantId: await http.newTenant(), scopes: ['read'] })
    expect((await http.ask('GET', '/api/chats', { key: foreign })).json.data).toEqual([])
    const ins = publicId('ins', instanceId)
    expect((await http.ask('GET', `/api/chats?instanceId=${ins}&q=5511`, { key: foreign })).json.data).toEqual([])
    for (const path of [publicId('cht', ana.chatId), `+5511987654321/`.slice(0, -1), '77@lid']) {
      const answer = await http.ask('GET', `/api/chats/${path}/messages?instanceId=${ins}`, { key: foreign })
      expect(answer, path).toMatchObject({ status: 404, json: { code: 'not_found' } })
    }
  })

  test('reads a page of an index, however many chats and messages there are', async () => {
    await db.execute(sql`
      with made as (
        insert into chat (id, tenant_id, instance_id, group_jid)
        select uuid_v7(), ${tenantId}, ${instanceId}, n || '@g.us' from generate_series(1, 20000) n returning id
      ), written as (
        insert into message (id, tenant_id, instance_id, chat_id, direction, whatsapp_id, type, content, origin, status)
        select uuid_v7(), ${tenantId}, ${instanceId}, id, 'outbound', id, 'text', '{"type":"text","text":{"body":"x"}}',
          'api', 'sent' from made returning id, chat_id
      )
      insert into chat_activity select chat_id, ${tenantId}, ${instanceId}, id from written`)
    await db.tx(async (tx) => {
      // As the autovacuum does sooner or later; only the tables' owner may.
      await tx.execute(sql`set local role none`)
      await tx.execute(sql`analyze chat, message, chat_activity`)
    })
    for (const filter of [{}, { instanceId }, { before: ids.next('msg') }]) {
      const pages = await db.tenantTx(tenantId, async (tx) => {
        const before = await pagesTouched(tx)
        expect(await listChats(tx, tenantId, { ...filter, limit: 20 })).toHaveLength(20)
        return (await pagesTouched(tx)) - before
      })
      expect(pages, JSON.stringify(filter)).toBeLessThan(1_000)
    }
  })
})

describe('the messages of a chat', () => {
  test('are read either way, from either end and from any message', async () => {
    const ana = await person('77', '5511987654321')
    const written: string[] = []
    for (let n = 0; n < 5; n++) written.push(await receive(ana))
    await receive(await person('78'))
    const path = `/api/chats/${publicId('cht', ana.chatId)}/messages`
    const read = async (query: Record<string, string>) => {
      const { data, nextCursor } = await get(path, query)
      return { ids: data.map(({ id }: { id: string }) => id), nextCursor }
    }
    expect(await read({})).toEqual({ ids: written.toReversed(), nextCursor: null })
    expect(await read({ order: 'asc' })).toEqual({ ids: written, nextCursor: null })
    const up = await read({ limit: '2' })
    expect(up).toEqual({ ids: [written[4], written[3]], nextCursor: written[3] })
    expect((await read({ limit: '2', cursor: must(written[3]) })).ids).toEqual([written[2], written[1]])
    const down = await read({ limit: '2', order: 'asc', cursor: must(written[1]) })
    expect(down).toEqual({ ids: [written[2], written[3]], nextCursor: written[3] })
    expect(await read({ order: 'asc', cursor: must(written[4]) })).toEqual({ ids: [], nextCursor: null })
  })

  test('are found by whatever names whom the chat is with', async () => {
    const ana = await book.chatAt(tenantId, instanceId, { waId: '5511987654321', lid: '77', username: 'ana.souza' })
    const group = await book.groupChat(tenantId, instanceId, GROUP)
    const message = await receive(ana)
    const inGroup = await receive({ ...ana, chatId: group })
    const ins = publicId('ins', instanceId)
    const names = ['+5511987654321', '5511987654321', '+551187654321', '77@lid', '5511987654321@s.whatsapp.net']
    for (const name of [...names, '@ana.souza', publicId('cht', ana.chatId)]) {
      const { data } = await get(`/api/chats/${encodeURIComponent(name)}/messages`, { instanceId: ins })
      expect(
        data.map(({ id }: { id: string }) => id),
        name,
      ).toEqual([message])
    }
    const { data } = await get(`/api/chats/${GROUP}/messages`, { instanceId: ins })
    expect(data.map(({ id }: { id: string }) => id)).toEqual([inGroup])
  })

  test.each([
    ['+5511987654321', '', 400, '/instanceId'],
    [GROUP, '', 400, '/instanceId'],
    ['nonsense', '', 400, '/id'],
    ['+5511900000000', 'known', 404, undefined],
    ['120363000000000000@g.us', 'known', 404, undefined],
    ['status@broadcast', 'known', 404, undefined],
    ['cht_01J8Z3V9K7QW5XN2M4T6R8Y0BC', '', 404, undefined],
    ['chat', 'unknown', 404, undefined],
  ])('%s with instance %j: %i', async (name, instance, status, pointer) => {
    const ana = await person('77')
    const known = instance === 'known' ? instanceId : await buildInstance(db, tenantId)
    const named = name === 'chat' ? publicId('cht', ana.chatId) : encodeURIComponent(name)
    const query = instance && `?instanceId=${publicId('ins', known)}`
    const answer = await http.ask('GET', `/api/chats/${named}/messages${query}`, { key })
    expect(answer).toMatchObject({ status, json: pointer ? { errors: [{ pointer }] } : { code: 'not_found' } })
  })
})

// Helpers

function must<Value>(value: Value | undefined): Value {
  if (value === undefined) throw new Error('nothing there')
  return value
}

async function get(path: string, query: Record<string, string> = {}) {
  const { status, json, text } = await http.ask('GET', `${path}?${new URLSearchParams(query)}`, { key })
  expect(status, text).toBe(200)
  return json
}

const person = (lid: string, waId?: string): Promise<ChatRow> =>
  book.chatAt(tenantId, instanceId, { lid, ...(waId && { waId }) })

async function receive(
  { chatId, contactId }: ChatRow,
  content: InboundContent = { type: 'text', text: { body: 'oi' } },
): Promise<string> {
  const messageId = ids.next('msg')
  const item = { messageId, eventId: ids.next('evt'), chatId, senderId: contactId, whatsappId: messageId, content }
  await storeInbound(db, { fence: null, tenantId, instanceId }, [{ ...item, at: new Date(), encHashes: [] }])
  return publicId('msg', messageId)
}

async function send(chatId: ChatId, from = instanceId): Promise<void> {
  const messageId = ids.next('msg')
  const outcome = await acceptBatch(db, [
    {
      ...{ messageId, tenantId, instanceId: from, chatId, whatsappId: messageId, origin: 'api', metadata: null },
      ...{ content: { type: 'text', text: { body: 'oi' } }, eventId: ids.next('evt'), idempotency: null },
    },
  ])
  expect(outcome).toEqual(['accepted'])
}
