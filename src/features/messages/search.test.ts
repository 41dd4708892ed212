import { randomBytes } from 'node:crypto'
import sql from 'sql-template-tag'
import { beforeEach, describe, expect, test } from 'vitest'
import { analyze } from '../../../test/support/database.js'
import { buildInstance } from '../../../test/support/factories.js'
import type { TestServer } from '../../../test/support/http-server.js'
import { pagesTouched } from '../../../test/support/pages-touched.js'
import { useTestServer } from '../../../test/support/use-server.js'
import { systemClock } from '../../kernel/clock.js'
import {
  type ChatId,
  createIdGenerator,
  type InstanceId,
  type MessageId,
  publicId,
  type TenantId,
} from '../../kernel/ids.js'
import { silentLogger } from '../../kernel/logger.js'
import type { Database } from '../../platform/database/database.js'
import { readerOf } from '../../platform/database/reader.js'
import type { InboundContent, OutboundContent } from '../../platform/whatsapp/content.js'
import { createAddressBook } from '../contacts/address-book.js'
import { record } from '../events/record.js'
import { storeInbound } from './ingest-store.js'
import { messageListRoutes } from './message-list-routes.js'
import { listMessages } from './message-store.js'
import { parseSearch } from './parse-search.js'
import { createSearchIndex } from './search-index.js'
import { indexNext } from './search-store.js'

const ids = createIdGenerator()
let db: Database
let http: TestServer
let tenantId: TenantId
let instanceId: InstanceId
let chatId: ChatId
let key: string

useTestServer(
  (own) => [messageListRoutes({ reader: readerOf(own) })],
  (made) => {
    ;({ db, http } = made)
  },
)
beforeEach(async () => {
  tenantId = await http.newTenant()
  key = await http.newKey({ tenantId, scopes: ['read'] })
  instanceId = await buildInstance(db, tenantId)
  chatId = await chatWith('+5511987654321')
})

describe('searching', () => {
  test.each([
    ['atenção', 'atencao'],
    ['ATENCAO', 'atencao'],
    ['atença\u0303o', 'atencao'],
    ['"a caminho"', 'phrase'],
    ['caminho', 'phrase,words'],
    ['caminho -perdi', 'phrase'],
    ['caminho atencao', ''],
    ['caminho or atencao', 'phrase,words,atencao'],
    ['camin', ''],
    ['camin*', 'phrase,words'],
    ['"camin*"', ''],
    ['orçamen* fina*', 'image'],
    ['relatório.pdf', 'document'],
    ['1.250,00', 'money'],
    ['PREÇO', 'money'],
    ["d'água", 'apostrophe'],
    ['ﬁm', 'ligature'],
    ['zzz', ''],
  ])('%s finds %s', async (q, expected) => {
    const texts = {
      ligature: 'o fim',
      apostrophe: "caixa d'agua",
      money: 'preço: R$ 1.250,00',
      atencao: 'Atenção!',
      words: 'perdi o caminho e a hora',
      phrase: 'Estou A CAMINHO',
    }
    const named = new Map<string, string>()
    for (const [name, body] of Object.entries(texts)) named.set(await receive(textOf(body)), name)
    const image = { type: 'image', image: { mimeType: 'image/png', caption: 'Orçamento FINAL' } } as const
    named.set(await receive(image), 'image')
    const document = { type: 'document', document: { mimeType: 'application/pdf', filename: 'relatorio.pdf' } } as const
    named.set(await receive(document), 'document')
    await index()
    const found = (await search({ q })).map((id) => named.get(id) ?? '?')
    expect(found.toSorted()).toEqual(expected.split(',').filter(Boolean).toSorted())
  })

  test('goes with every other filter, page by page, the newest first, without a gap or a double', async () => {
    const other = await chatWith('+5511900000001')
    const wanted: string[] = []
    for (let n = 0; n < 7; n++) {
      wanted.unshift(await receive(textOf(`pedido ${n}`)))
      await receive(textOf(`pedido ${n}`), { chat: other })
      await receive(textOf('outra coisa'))
    }
    await index()
    const filter = {
      q: 'pedido',
      chat: publicId('cht', chatId),
      direction: 'inbound',
      status: 'received',
      type: 'text',
    }
    const found: string[] = []
    let cursor: string | null = null
    do {
      const page = await list({ ...filter, limit: '2', ...(cursor ? { cursor } : {}) })
      found.push(...page.data.map(({ id }: { id: string }) => id))
      cursor = page.nextCursor
    } while (cursor)
    expect(found).toEqual(wanted)
    expect(await search({ ...filter, type: 'image' })).toEqual([])
    expect(await search({ ...filter, direction: 'outbound' })).toEqual([])
    expect(await search({ q: 'pedido', instanceId: publicId('ins', await buildInstance(db, tenantId)) })).toEqual([])
  })

  test('by time: what was written since, and before', async () => {
    const old = await receive(textOf('pedido'), { at: new Date('2026-01-10T12:00:00Z') })
    const mid = await receive(textOf('pedido'), { at: new Date('2026-02-10T12:00:00Z') })
    const recent = await receive(textOf('pedido'), { at: new Date('2026-03-10T12:00:00Z') })
    await index()
    expect(await search({ q: 'pedido', since: '2026-02-10T09:00:00-03:00' })).toEqual([recent, mid])
    expect(await search({ q: 'pedido', until: '2026-02-10T09:00:00-03:00' })).toEqual([old])
    expect(await search({ since: '2026-02-01T00:00:00Z', until: '2026-03-01T00:00:00Z' })).toEqual([mid])
  })

  test('never shows a message of another tenant', async () => {
    await receive(textOf('segredo'))
    await index()
    const foreign = await http.newKey({ tenantId: await http.newTenant() })
    for (const q of ['segredo', 'seg*', `-nada`, `${tenantId} or segredo`]) {
      const { json } = await http.ask('GET', `/api/messages?${new URLSearchParams({ q })}`, { key: foreign })
      expect(json.data).toEqual([])
    }
  })

  test('follows edits, and what was written on the phone', async () => {
    const id = await receive(textOf('velha'))
    const own = await receive(textOf('do celular'), { own: true })
    await index()
    await db.execute(sql`
      update message set content = ${JSON.stringify(textOf('nova'))}::jsonb where tenant_id = ${tenantId} and direction = 'inbound'`)
    const [row] = await db.query<{ id: MessageId }>(
      sql`select id from message where tenant_id = ${tenantId} and direction = 'inbound'`,
    )
    const edited = { id: ids.next('evt'), tenantId, type: 'message.edited', instanceId, data: {} } as const
    await db.tx((tx) => record(tx, [{ ...edited, subjectId: row?.id ?? null }]))
    await index()
    expect(await search({ q: 'velha' })).toEqual([])
    expect(await search({ q: 'nova' })).toEqual([id])
    expect(await search({ q: 'celular' })).toEqual([own])
  })

  test.each(['', '!?', '😀', 'a\0b', 'x'.repeat(201)])('refuses q=%j with a clear 400', async (q) => {
    const answer = await http.ask('GET', `/api/messages?${new URLSearchParams({ q })}`, { key })
    expect(answer).toMatchObject({ status: 400, json: { code: 'invalid_request', errors: [{ pointer: '/q' }] } })
  })

  test.each(["'", '\\ a', 'a & | ! ( ) :*', '"a', 'a*b*', '½* ﷺ*', '<-> a <2> b', "it's'*"])(
    'takes %j for words, and nothing else',
    async (q) => {
      const answer = await http.ask('GET', `/api/messages?${new URLSearchParams({ q })}`, { key })
      expect([200, 400]).toContain(answer.status)
    },
  )

  test('the longest, strangest text is found by its beginning, and none can stop those after it', async () => {
    const bodies = [
      'começo '.padEnd(65_536, 'é'),
      'ﷺ'.repeat(65_536),
      'começo 😀\u{10ffff}',
      Array.from({ length: 5_000 }, (_, n) => `ção${n}`).join(' '),
    ]
    const messages: string[] = []
    for (const body of bodies) messages.push(await receive(textOf(body)))
    await index()
    expect(await search({ q: 'comeco' })).toEqual([messages[2], messages[0]])
    expect(await search({ q: 'cao4999' })).toEqual([messages[3]])
  })
})

describe('the index of words', () => {
  test('is filled once each, by several processes at once, wherever one stops', async () => {
    await Promise.all(Array.from({ length: 40 }, (_, n) => receive(textOf(`palavra numero${n}`))))
    await Promise.all(Array.from({ length: 6 }, () => indexNext(db, tenantId, 7)))
    await Promise.all([index(), index(), index()])
    expect(await search({ q: 'palavra', limit: '200' })).toHaveLength(40)
    expect(await indexNext(db, tenantId, 100)).toBe(0)
  })

  test('is used: a rare word among 20,000 messages reads a few pages', async () => {
    await db.execute(sql`
      insert into message (id, tenant_id, instance_id, chat_id, direction, whatsapp_id, type, content, origin, status)
      select uuid_v7(), ${tenantId}, ${instanceId}, ${chatId}, 'outbound', 'bulk' || n, 'text',
        jsonb_build_object('type', 'text', 'text', jsonb_build_object('body', 'comum n' || n)), 'api', 'sent'
      from generate_series(1, 20000) n`)
    await db.execute(sql`
      insert into message_search (message_id, tenant_id, words)
      select id, tenant_id, search_words(tenant_id, type, content) from message where tenant_id = ${tenantId}`)
    // As the autovacuum does sooner or later: a planner that knows nothing of the words may read them all.
    await analyze(db)
    const pages = await db.tx(async (tx) => {
      // Twenty thousand are few enough to read them all; it must be possible to do without.
      await tx.execute(sql`set local enable_seqscan = off`)
      const before = await pagesTouched(tx)
      const found = await listMessages(tx, tenantId, { search: parseSearch('comum n777'), limit: 50 })
      expect(found).toHaveLength(1)
      return (await pagesTouched(tx)) - before
    })
    expect(pages).toBeLessThan(1_000)
  })
})

// Helpers

const textOf = (body: string) => ({ type: 'text', text: { body } }) as const

async function index(): Promise<void> {
  const service = createSearchIndex({ db, clock: systemClock, random: Math.random, logger: silentLogger })
  await service.catchUp()
}

async function list(query: Record<string, string>) {
  const { status, json, text } = await http.ask('GET', `/api/messages?${new URLSearchParams(query)}`, { key })
  expect(status, text).toBe(200)
  return json
}

const search = async (query: Record<string, string>): Promise<string[]> =>
  (await list(query)).data.map(({ id }: { id: string }) => id)

async function receive(
  content: InboundContent | OutboundContent,
  { chat = chatId, at = new Date(), own = false }: { chat?: ChatId; at?: Date; own?: boolean } = {},
): Promise<string> {
  const messageId = ids.next('msg')
  const [person] = await db.query<{ id: never }>(sql`select contact_id as id from chat where id = ${chat}`)
  const item = {
    messageId,
    eventId: ids.next('evt'),
    chatId: chat,
    senderId: own ? null : (person?.id ?? null),
    whatsappId: randomBytes(8).toString('hex'),
    content: content as InboundContent,
    at,
    encHashes: [],
  }
  await storeInbound(db, { fence: null, tenantId, instanceId }, [item])
  return publicId('msg', messageId)
}

async function chatWith(phone: string): Promise<ChatId> {
  const addressBook = createAddressBook({ db, ids })
  return (await addressBook.chatWith(tenantId, instanceId, { kind: 'phone', value: phone })).chatId
}
