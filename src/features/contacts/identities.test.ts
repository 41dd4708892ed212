/** Who is who: names beside phone and LID, what WhatsApp answers, and what other processes remember. */
import sql from 'sql-template-tag'
import { afterEach, expect, test } from 'vitest'
import { eventually } from '../../../test/support/eventually.js'
import { useInstance } from '../../../test/support/use-instance.js'
import { createIdGenerator, type InstanceId, type TenantId } from '../../kernel/ids.js'
import type { Database } from '../../platform/database/database.js'
import { listEvents } from '../events/event-store.js'
import { type AddressBook, createAddressBook } from './address-book.js'
import { findContacts } from './contact-store.js'

const ids = createIdGenerator()
let db: Database
let tenantId: TenantId
let instanceId: InstanceId
let book: AddressBook
let other: AddressBook

useInstance(async (place) => {
  ;({ db, tenantId, instanceId } = place)
  book = createAddressBook({ db, ids })
  other = createAddressBook({ db, ids })
  await other.start()
})
afterEach(() => other.stop())

const phone = { kind: 'phone', value: '+5511987654321' } as const
const lid = { kind: 'lid', value: '77' } as const
const maria = { kind: 'username', value: 'maria.silva' } as const
const bsuid = { kind: 'bsuid', value: 'BR.1502' } as const
const viewOf = async (contactId: Parameters<typeof findContacts>[2][number]) =>
  (await findContacts(db, tenantId, [contactId]))[0]

test('a username and a business-scoped id lead to the chat of who showed them', async () => {
  const chat = await book.chatAt(tenantId, instanceId, { lid: lid.value, username: maria.value, bsuid: bsuid.value })
  expect(await other.chatWith(tenantId, instanceId, maria)).toEqual(chat)
  expect(await other.chatWith(tenantId, instanceId, bsuid)).toEqual(chat)
  expect(await viewOf(chat.contactId)).toMatchObject({ lid: '77', username: 'maria.silva', bsuid: 'BR.1502' })
})

test.each([maria, bsuid])('nobody is made of a $kind alone', async (identity) => {
  await expect(book.chatWith(tenantId, instanceId, identity)).rejects.toMatchObject({
    code: 'unknown_recipient',
    status: 422,
  })
  expect(await db.query(sql`select from contact where tenant_id = ${tenantId}`)).toHaveLength(0)
})

test('a username that somebody else has now leads to them, and a person has one', async () => {
  const first = await book.chatAt(tenantId, instanceId, { lid: '1', username: maria.value })
  const second = await book.chatAt(tenantId, instanceId, { lid: '2', username: maria.value })
  expect(await book.chatWith(tenantId, instanceId, maria)).toEqual(second)
  await book.chatAt(tenantId, instanceId, { lid: '2', username: 'maria.2' })
  expect(await viewOf(first.contactId)).toMatchObject({ username: null })
  expect(await viewOf(second.contactId)).toMatchObject({ username: 'maria.2' })
  await expect(createAddressBook({ db, ids }).chatWith(tenantId, instanceId, maria)).rejects.toMatchObject({
    code: 'unknown_recipient',
  })
})

test('each thing that is learned is told, with what it is', async () => {
  await book.chatWith(tenantId, instanceId, phone)
  await book.chatAt(tenantId, instanceId, { waId: '5511987654321', lid: lid.value, username: maria.value })
  await book.learn(tenantId, { waId: '5511911112222', lid: lid.value })
  const events = await listEvents(db, tenantId, { after: 0n, types: ['contact.updated'], limit: 10 })
  expect(events.map(({ data }) => data)).toEqual([
    { reason: 'identity_learned', learned: { lid: '77' } },
    { reason: 'identity_learned', learned: { username: 'maria.silva' } },
    { reason: 'identity_learned', learned: { phone: '+5511911112222' } },
    { reason: 'number_changed', previousPhones: ['+5511987654321', '+551187654321'] },
  ])
})

test('a process that remembers who had a number hears that somebody else has it now', async () => {
  await other.learn(tenantId, { waId: '5511987654321', lid: lid.value })
  const before = await other.chatWith(tenantId, instanceId, phone)
  await book.learn(tenantId, { waId: '5511911112222', lid: lid.value })
  const asks = async () => (await other.chatWith(tenantId, instanceId, phone)).contactId
  await eventually(async () => (await asks()) !== before.contactId, 'the old number to be forgotten')
  expect(await other.chatWith(tenantId, instanceId, lid)).toEqual(before)
})

test('a process that remembers two people hears that they are one', async () => {
  const byPhone = await other.chatWith(tenantId, instanceId, phone)
  expect(await other.chatWith(tenantId, instanceId, lid)).not.toEqual(byPhone)
  await book.learn(tenantId, { waId: '5511987654321', lid: lid.value })
  const asks = async () => (await other.chatWith(tenantId, instanceId, lid)).contactId
  await eventually(async () => (await asks()) === byPhone.contactId, 'the two to be forgotten')
})

test('what another process learned of two people is not taken for known after they have parted', async () => {
  await other.learn(tenantId, { waId: '5511987654321', lid: lid.value })
  await book.learn(tenantId, { waId: '5511987654321', lid: '88' })
  await eventually(async () => {
    await other.learn(tenantId, { waId: '5511987654321', lid: lid.value })
    const owner = await createAddressBook({ db, ids }).chatWith(tenantId, instanceId, phone)
    return (await viewOf(owner.contactId))?.lid === lid.value
  }, 'the number to come back')
})

test('a number that is only asked about makes no contact, and the answer waits for the one who writes', async () => {
  await book.learnCheck(tenantId, phone.value, { exists: true, waId: '551187654321', lid: lid.value })
  await book.learnCheck(tenantId, '+5511900000000', { exists: false })
  expect(await db.query(sql`select from contact where tenant_id = ${tenantId}`)).toHaveLength(0)
  const chat = await book.chatWith(tenantId, instanceId, phone)
  const [known] = await db.query(sql`
    select on_whatsapp as "exists", wa_id as "waId", contact_id as contact from contact_identity
    where tenant_id = ${tenantId} and value = ${phone.value}`)
  expect(known).toEqual({ exists: true, waId: '551187654321', contact: chat.contactId })
})

test('names: ours before the saved one, the saved one before the one that the person shows', async () => {
  const { contactId } = await book.chatAt(tenantId, instanceId, { waId: '5511987654321', lid: lid.value })
  await book.rename(tenantId, contactId, 'mari ✨')
  expect(await viewOf(contactId)).toMatchObject({ name: 'mari ✨' })
  await book.noteSaved(tenantId, { lid: lid.value }, 'Maria (bakery)')
  expect(await viewOf(contactId)).toMatchObject({ name: 'Maria (bakery)' })
  await book.noteSaved(tenantId, { waId: '5511987654321' }, null)
  expect(await viewOf(contactId)).toMatchObject({ name: 'mari ✨' })
})

test('whom the address book of the phone names is a contact, without a chat, under that name when they write', async () => {
  await Promise.all([book, other].map((each) => each.noteSaved(tenantId, { waId: '5511987654321' }, 'Maria')))
  expect(await db.query(sql`select from chat where tenant_id = ${tenantId}`)).toHaveLength(0)
  const { contactId } = await book.chatAt(tenantId, instanceId, { waId: '551187654321' })
  expect(await viewOf(contactId)).toMatchObject({ name: 'Maria', phone: '+5511987654321' })
  expect(await db.query(sql`select from contact where tenant_id = ${tenantId}`)).toHaveLength(1)
})

test('that a stranger has a phone and a LID makes no contact; of whom we know it is learned', async () => {
  const strangers = { waId: '5511987654321', lid: lid.value, onlyOfKnown: true }
  await book.learn(tenantId, strangers)
  expect(await db.query(sql`select from contact where tenant_id = ${tenantId}`)).toHaveLength(0)
  const { contactId } = await book.chatWith(tenantId, instanceId, { kind: 'phone', value: '+551187654321' })
  await book.learn(tenantId, strangers)
  expect(await viewOf(contactId)).toMatchObject({ lid: lid.value })
})

test('a merge rewrites what the loser wrote in groups, and reads no other messages for it', async () => {
  const byLid = await book.chatWith(tenantId, instanceId, lid)
  const byPhone = await book.chatWith(tenantId, instanceId, phone)
  const group = await book.groupChat(tenantId, instanceId, '1203@g.us')
  const elsewhere = await book.chatWith(tenantId, instanceId, { kind: 'lid', value: '999' })
  await db.execute(sql`
    insert into message (id, tenant_id, instance_id, chat_id, sender_id, direction, whatsapp_id, type, content, origin, status)
    select gen_random_uuid(), ${tenantId}, ${instanceId}, ${elsewhere.chatId}, ${elsewhere.contactId}, 'inbound', n::text,
      'text', '{"type":"text","text":{"body":"x"}}', 'contact', 'received' from generate_series(1, 20000) n`)
  await db.execute(sql`
    insert into message (id, tenant_id, instance_id, chat_id, sender_id, direction, whatsapp_id, type, content, origin, status)
    values (gen_random_uuid(), ${tenantId}, ${instanceId}, ${group}, ${byLid.contactId}, 'inbound', 'IN-GROUP', 'text',
      '{"type":"text","text":{"body":"x"}}', 'contact', 'received')`)
  const before = await readsOfMessages()
  await book.learn(tenantId, { waId: '5511987654321', lid: lid.value })
  const [message] = await db.query(sql`select sender_id as sender from message where whatsapp_id = 'IN-GROUP'`)
  expect(message).toEqual({ sender: byPhone.contactId })
  expect(Number((await readsOfMessages()) - before)).toBeLessThan(1_000)
})

/** Rows of messages that statements have looked at, through indexes or without. */
async function readsOfMessages(): Promise<bigint> {
  const [row] = await db.tx(async (tx) => {
    await tx.query(sql`select pg_stat_clear_snapshot(), pg_stat_force_next_flush()`)
    return tx.query<{ n: bigint }>(sql`
      select seq_tup_read + idx_tup_fetch + coalesce((select sum(idx_tup_read) from pg_stat_user_indexes
        where relname = 'message'), 0)::bigint as n from pg_stat_user_tables where relname = 'message'`)
  })
  return row?.n ?? 0n
}
