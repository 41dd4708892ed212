import sql from 'sql-template-tag'
import { expect, test } from 'vitest'
import { buildInstance, buildTenant } from '../../../test/support/factories.js'
import { useInstance } from '../../../test/support/use-instance.js'
import { type ContactId, createIdGenerator, type InstanceId, publicId, type TenantId } from '../../kernel/ids.js'
import type { Database } from '../../platform/database/database.js'
import { listEvents } from '../events/event-store.js'
import { type AddressBook, createAddressBook } from './address-book.js'
import { findContacts } from './contact-store.js'
import { describeContactEvents } from './contact-view.js'

const ids = createIdGenerator()
let db: Database
let tenantId: TenantId
let instanceId: InstanceId
let book: AddressBook

useInstance((place) => {
  ;({ db, tenantId, instanceId } = place)
  book = createAddressBook({ db, ids })
})

const phone = { kind: 'phone', value: '+5511987654321' } as const
const lid = { kind: 'lid', value: '1234567890' } as const

test('one person is made once, however many ask at the same time and from however many processes', async () => {
  const books = Array.from({ length: 4 }, () => createAddressBook({ db, ids }))
  const chats = await Promise.all(
    Array.from({ length: 40 }, (_, turn) => (books[turn % 4] ?? book).chatWith(tenantId, instanceId, phone)),
  )
  expect(new Set(chats.map(({ chatId }) => chatId)).size).toBe(1)
  expect(await countContacts()).toBe(1)
})

test('the same number is another person for another tenant', async () => {
  const stranger = await buildTenant(db)
  const theirs = await book.chatWith(stranger, await buildInstance(db, stranger), phone)
  const ours = await book.chatWith(tenantId, instanceId, phone)
  expect(theirs.contactId).not.toBe(ours.contactId)
})

test('a LID that is learned to belong to a known phone leads to the same chat', async () => {
  const known = await book.chatWith(tenantId, instanceId, phone)
  await book.learn(tenantId, { waId: '5511987654321', lid: lid.value })
  expect(await book.chatWith(tenantId, instanceId, lid)).toEqual(known)
})

test('two contacts that turn out to be one person become one, with one history and an event', async () => {
  const byPhone = await book.chatWith(tenantId, instanceId, phone)
  const byLid = await book.chatWith(tenantId, instanceId, lid)
  expect(byLid.contactId).not.toBe(byPhone.contactId)
  await insertInbound(byLid.chatId, byLid.contactId, 'OLD')
  await book.learn(tenantId, { waId: '5511987654321', lid: lid.value })

  expect(await book.chatWith(tenantId, instanceId, lid)).toEqual(byPhone)
  const [history] = await db.query<{ chat: string; sender: string }>(
    sql`select chat_id as chat, sender_id as sender from message where tenant_id = ${tenantId}`,
  )
  expect(history).toEqual({ chat: byPhone.chatId, sender: byPhone.contactId })
  const recorded = (await listEvents(db, tenantId, { after: 0n, types: ['contact.updated'], limit: 10 })).filter(
    ({ subjectId }) => subjectId === byPhone.contactId,
  )
  const described = await describeContactEvents(db, tenantId, recorded)
  const who = {
    id: publicId('con', byPhone.contactId),
    phone: phone.value,
    waId: '5511987654321',
    lid: lid.value,
    name: null,
    username: null,
    bsuid: null,
  }
  const loser = { ...who, id: publicId('con', byLid.contactId), phone: null, waId: null }
  const chats = [{ from: publicId('cht', byLid.chatId), into: publicId('cht', byPhone.chatId) }]
  expect([...described.values()]).toEqual([{ ...who, reason: 'merged', merged: { ...loser, chats } }])
})

test('a merge waits until the messages of the losing chat are settled', async () => {
  const byPhone = await book.chatWith(tenantId, instanceId, phone)
  const byLid = await book.chatWith(tenantId, instanceId, lid)
  await db.execute(sql`update chat_lane set next_seq = 2, head_due_at = now() where chat_id = ${byLid.chatId}`)
  await book.learn(tenantId, { waId: '5511987654321', lid: lid.value })
  expect((await book.chatWith(tenantId, instanceId, lid)).contactId).toBe(byLid.contactId)

  await db.execute(sql`update chat_lane set head_seq = 2, head_due_at = null where chat_id = ${byLid.chatId}`)
  await book.learn(tenantId, { waId: '5511987654321', lid: lid.value })
  expect((await book.chatWith(tenantId, instanceId, lid)).contactId).toBe(byPhone.contactId)
})

test('a message stored under both identities is kept once in the merged chat and loses nothing', async () => {
  const byPhone = await book.chatWith(tenantId, instanceId, phone)
  const byLid = await book.chatWith(tenantId, instanceId, lid)
  await insertInbound(byPhone.chatId, byPhone.contactId, 'TWICE')
  await insertInbound(byLid.chatId, byLid.contactId, 'TWICE')
  await book.learn(tenantId, { waId: '5511987654321', lid: lid.value })
  const rows = await db.query(sql`select 1 from message where chat_id = ${byPhone.chatId}`)
  expect(rows).toHaveLength(1)
})

test('a person who changes the number has one phone, the newest; the old number is somebody else', async () => {
  const person = await book.chatWith(tenantId, instanceId, lid)
  await book.learn(tenantId, { waId: '5511987654321', lid: lid.value })
  await book.learn(tenantId, { waId: '5511911112222', lid: lid.value })
  expect(await viewOf(person.contactId)).toMatchObject({ phone: '+5511911112222', lid: lid.value })
  expect((await book.chatWith(tenantId, instanceId, phone)).contactId).not.toBe(person.contactId)

  await book.learn(tenantId, { waId: '5511987654321', lid: lid.value })
  const kept = await book.chatWith(tenantId, instanceId, lid)
  expect(await viewOf(kept.contactId)).toMatchObject({ phone: phone.value })
  expect(await book.chatWith(tenantId, instanceId, phone)).toEqual(kept)
})

test('a number that went to another person takes nothing of its first owner with it', async () => {
  await book.learn(tenantId, { waId: '5511987654321', lid: '5' })
  const first = await book.chatWith(tenantId, instanceId, { kind: 'lid', value: '5' })
  await book.learn(tenantId, { waId: '5511987654321', lid: lid.value })
  const second = await book.chatWith(tenantId, instanceId, phone)
  expect(second).toEqual(await book.chatWith(tenantId, instanceId, lid))
  expect(second.contactId).not.toBe(first.contactId)
  expect(await viewOf(first.contactId)).toMatchObject({ phone: null, lid: '5' })
})

test('the number that WhatsApp answers with, and its LID, are the person that was asked for', async () => {
  const asked = await book.chatWith(tenantId, instanceId, phone)
  const byLid = await book.chatWith(tenantId, instanceId, lid)
  expect(byLid.contactId).not.toBe(asked.contactId)
  await book.learnCheck(tenantId, phone.value, { exists: true, waId: '551187654321', lid: lid.value })
  expect(await book.chatAt(tenantId, instanceId, { waId: '551187654321' })).toEqual(asked)
  expect(await book.chatAt(tenantId, instanceId, { waId: '551187654321', lid: lid.value })).toEqual(asked)
  expect(await viewOf(asked.contactId)).toMatchObject({ phone: phone.value, waId: '551187654321', lid: lid.value })
})

test('a ninth digit is no change of number', async () => {
  const asked = await book.chatWith(tenantId, instanceId, phone)
  await book.learn(tenantId, { waId: '5511987654321', lid: lid.value })
  await book.learn(tenantId, { waId: '551187654321', lid: lid.value })
  expect(await book.chatWith(tenantId, instanceId, phone)).toEqual(asked)
  expect(await book.chatAt(tenantId, instanceId, { waId: '551187654321' })).toEqual(asked)
})

test('a chat that was merged twice leads to the last one in one step', async () => {
  const oldest = await book.chatWith(tenantId, instanceId, { kind: 'phone', value: '+551144445555' })
  const middle = await book.chatWith(tenantId, instanceId, phone)
  await book.learnCheck(tenantId, phone.value, { exists: true, waId: '551144445555' })
  const last = await book.chatWith(tenantId, instanceId, { kind: 'phone', value: '+5511911112222' })
  await book.learnCheck(tenantId, '+5511911112222', { exists: true, waId: '5511987654321' })
  const rows = await db.query<{ into: string }>(
    sql`select merged_into as into from chat where id in (${oldest.chatId}, ${middle.chatId})`,
  )
  expect(rows).toEqual([{ into: last.chatId }, { into: last.chatId }])
})

test('a group has one chat', async () => {
  const first = await book.groupChat(tenantId, instanceId, '1203@g.us')
  expect(await createAddressBook({ db, ids }).groupChat(tenantId, instanceId, '1203@g.us')).toBe(first)
})

const viewOf = async (contactId: ContactId) => (await findContacts(db, tenantId, [contactId]))[0]

async function countContacts(): Promise<number> {
  const [row] = await db.query<{ n: number }>(
    sql`select count(*)::int as n from contact where tenant_id = ${tenantId} and merged_into is null`,
  )
  return row?.n ?? 0
}

async function insertInbound(chatId: string, contactId: string, whatsappId: string): Promise<void> {
  await db.execute(sql`
    insert into message (id, tenant_id, instance_id, chat_id, sender_id, direction, whatsapp_id, type, content, origin, status)
    values (${ids.next('msg')}, ${tenantId}, ${instanceId}, ${chatId}, ${contactId}, 'inbound', ${whatsappId}, 'text',
      '{"type":"text","text":{"body":"oi"}}', 'contact', 'received')`)
}
