/** The newest message of each chat, as the statements that store messages keep it. */
import sql from 'sql-template-tag'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js'
import { buildInstance, buildTenant } from '../../../test/support/factories.js'
import { type ChatId, createIdGenerator, type InstanceId, type MessageId, type TenantId } from '../../kernel/ids.js'
import type { Database } from '../../platform/database/database.js'
import { type AddressBook, createAddressBook } from '../contacts/address-book.js'
import { type AcceptItem, acceptBatch } from './accept-store.js'
import { type InboundItem, storeInbound } from './ingest-store.js'

const ids = createIdGenerator()
let testDatabase: TestDatabase
let db: Database
let book: AddressBook
let tenantId: TenantId
let instanceId: InstanceId

beforeAll(async () => {
  testDatabase = await createTestDatabase()
  db = testDatabase.db
  book = createAddressBook({ db, ids })
})
afterAll(() => testDatabase.drop())
beforeEach(async () => {
  tenantId = await buildTenant(db)
  instanceId = await buildInstance(db, tenantId)
})

test('is what was accepted, received or written on the phone last, in any order of the statements', async () => {
  const [ana, bia] = [await personAt('77'), await personAt('78')]
  expect(await newest()).toEqual({})
  const early = outbound(ana.chatId)
  await acceptBatch(db, [outbound(ana.chatId), outbound(bia.chatId), outbound(ana.chatId)])
  const last = outbound(bia.chatId)
  await acceptBatch(db, [last])
  const received = inbound(ana)
  const written = { ...inbound(bia), senderId: null }
  await receive([received, written])
  // Made first and stored last, by another process.
  await acceptBatch(db, [early])
  expect(await newest()).toEqual({ [ana.chatId]: received.messageId, [bia.chatId]: written.messageId })
  // Received again: nothing new.
  await receive([{ ...received, messageId: ids.next('msg') }])
  expect(await newest()).toMatchObject({ [ana.chatId]: received.messageId })
})

test('of two chats that become one is the newer of both', async () => {
  for (const [lid, last] of [
    ['79', 'winner'],
    ['80', 'loser'],
  ] as const) {
    const loser = await personAt(lid)
    const winner = await book.chatWith(tenantId, instanceId, { kind: 'phone', value: `+55119876543${lid}` })
    await receive([inbound(last === 'winner' ? loser : winner)])
    const newer = inbound(last === 'winner' ? winner : loser)
    await receive([newer])
    await book.learn(tenantId, { waId: `55119876543${lid}`, lid })
    const all = await newest()
    expect(all[winner.chatId]).toBe(newer.messageId)
    expect(all).not.toHaveProperty(loser.chatId)
  }
})

test('of a chat that has only its loser’s messages comes with them', async () => {
  const loser = await personAt('81')
  const winner = await book.chatWith(tenantId, instanceId, { kind: 'phone', value: '+5511987654399' })
  const only = inbound(loser)
  await receive([only])
  await book.learn(tenantId, { waId: '5511987654399', lid: '81' })
  expect(await newest()).toEqual({ [winner.chatId]: only.messageId })
})

test('is right after accepts and receptions in the same chats at the same time, in any order', async () => {
  const people = await Promise.all(Array.from({ length: 8 }, (_, n) => personAt(`9${n}`)))
  const shuffled = () => people.toSorted(() => Math.random() - 0.5)
  const stored: Promise<unknown>[] = []
  for (let round = 0; round < 20; round++) {
    stored.push(
      acceptBatch(
        db,
        shuffled().map(({ chatId }) => outbound(chatId)),
      ),
    )
    stored.push(receive(shuffled().map(inbound)))
  }
  await Promise.all(stored)
  const wrong = await db.query(sql`
    select from chat_activity a
    where a.tenant_id = ${tenantId}
      and a.last_message_id <> (select id from message m where m.chat_id = a.chat_id order by id desc limit 1)`)
  expect(wrong).toEqual([])
  expect(Object.keys(await newest())).toHaveLength(8)
})

// Helpers

type Person = Awaited<ReturnType<typeof personAt>>

const personAt = (lid: string) => book.chatWith(tenantId, instanceId, { kind: 'lid', value: lid })

async function newest(): Promise<Record<ChatId, MessageId>> {
  const rows = await db.query<{ chat: ChatId; message: MessageId }>(sql`
    select chat_id as chat, last_message_id as message from chat_activity where tenant_id = ${tenantId}`)
  return Object.fromEntries(rows.map(({ chat, message }) => [chat, message]))
}

function outbound(chatId: ChatId): AcceptItem {
  const messageId = ids.next('msg')
  return {
    ...{ messageId, tenantId, instanceId, chatId, whatsappId: messageId, origin: 'api', metadata: null },
    ...{ content: { type: 'text', text: { body: 'oi' } }, eventId: ids.next('evt'), idempotency: null },
  }
}

function inbound({ chatId, contactId }: Person): InboundItem {
  const messageId = ids.next('msg')
  return {
    ...{ messageId, eventId: ids.next('evt'), chatId, senderId: contactId, whatsappId: messageId },
    ...{ content: { type: 'text', text: { body: 'oi' } }, at: new Date(), encHashes: [] },
  }
}

const receive = (items: readonly InboundItem[]) => storeInbound(db, { fence: null, tenantId, instanceId }, items)
