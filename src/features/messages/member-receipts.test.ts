/** Receipts of the members of a group, on the real database. */
import sql from 'sql-template-tag'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js'
import { buildInstance, buildTenant, takeLease } from '../../../test/support/factories.js'
import { type ChatId, createIdGenerator, type InstanceId, type MessageId, type TenantId } from '../../kernel/ids.js'
import type { Database } from '../../platform/database/database.js'
import type { Lease } from '../../platform/leases/lease.js'
import { memberKey, type WhatsAppAddress } from '../../platform/whatsapp/jid.js'
import type { Receipt } from '../../platform/whatsapp/whatsapp.js'
import { createAddressBook } from '../contacts/address-book.js'
import { expectReceipts, listMemberReceipts, purgeMemberReceipts } from './member-receipt-store.js'
import { findMessage } from './message-store.js'
import { applyEarlyReceipts, storeReceipts } from './receive-receipts.js'
import { sweepReceipts } from './sweep-receipts.js'

const ids = createIdGenerator()
const GROUP = '120363025246125486@g.us'
const [ANA, BIA] = [
  { waId: '5511900000001', lid: '1' },
  { waId: '5511900000002', lid: '2' },
]
let testDatabase: TestDatabase
let db: Database
let tenantId: TenantId
let instanceId: InstanceId
let chatId: ChatId
let lease: Lease

beforeAll(async () => {
  testDatabase = await createTestDatabase()
  db = testDatabase.db
})
afterAll(() => testDatabase.drop())
beforeEach(async () => {
  tenantId = await buildTenant(db)
  instanceId = await buildInstance(db, tenantId)
  lease = await takeLease(db, instanceId)
  chatId = await createAddressBook({ db, ids }).groupChat(tenantId, instanceId, GROUP)
})

test('a message moves when the last member has it, whichever address each receipt has', async () => {
  const id = await sent('A')
  await expected('A', [ANA, { lid: '2' }])
  await receive('A', 'read', { waId: ANA.waId })
  expect(await statusOf(id)).toBe('sent')
  await receive('A', 'delivered', BIA)
  expect(await statusOf(id)).toBe('delivered')
  await receive('A', 'read', { waId: BIA.waId })
  expect(await statusOf(id)).toBe('read')
  const rows = await listMemberReceipts(db, tenantId, id)
  expect(rows.map(({ lid, phone }) => [lid, phone])).toEqual([
    ['1', '+5511900000001'],
    ['2', '+5511900000002'],
  ])
})

test('who is no recipient, or comes twice, does not count', async () => {
  const id = await sent('A')
  await expected('A', [ANA, BIA])
  for (const member of [ANA, ANA, { lid: '3' }, { lid: '4' }]) await receive('A', 'read', member)
  expect(await statusOf(id)).toBe('sent')
  expect(await listMemberReceipts(db, tenantId, id)).toHaveLength(2)
})

test('of a message to nobody knows whom nothing is kept, and it stays sent', async () => {
  const id = await sent('A')
  for (const member of [ANA, BIA]) await receive('A', 'read', member)
  expect(await statusOf(id)).toBe('sent')
  expect(await db.query(sql`select from member_receipt where tenant_id = ${tenantId}`)).toEqual([])
})

test('receipts that came before the message wait for it, of each member', async () => {
  await receive('A', 'read', ANA)
  await receive('A', 'delivered', BIA)
  const id = await sent('A', 'phone')
  await db.tx((tx) => applyEarlyReceipts(tx, ids, owner(), ['A']))
  await expected('A', [ANA, BIA])
  await receive('A', 'delivered', ANA)
  expect(await statusOf(id)).toBe('delivered')
  await receive('A', 'read', BIA)
  expect(await statusOf(id)).toBe('read')
})

test('what the journal kept of each member is applied by the sweep when its session could not', async () => {
  const id = await sent('A')
  await expected('A', [ANA, BIA])
  for (const { lid } of [ANA, BIA]) {
    await db.execute(sql`
      insert into early_receipt (instance_id, tenant_id, whatsapp_id, status, at, member)
      values (${instanceId}, ${tenantId}, 'A', 'read', now(), ${lid})`)
    expect(await statusOf(id)).toBe('sent')
  }
  await sweepReceipts({ db, ids }, { olderThanMs: 0, instanceId })
  expect(await statusOf(id)).toBe('read')
  expect(await db.query(sql`select from early_receipt where instance_id = ${instanceId}`)).toEqual([])
})

test("one member's receipt that the journal kept proves that the message was sent", async () => {
  const id = await sent('A')
  await db.execute(sql`update message set status = 'sending' where id = ${id}`)
  await expected('A', [ANA, BIA])
  await db.execute(sql`
    insert into early_receipt (instance_id, tenant_id, whatsapp_id, status, at, member)
    values (${instanceId}, ${tenantId}, 'A', 'delivered', now(), ${ANA.lid})`)
  await sweepReceipts({ db, ids }, { olderThanMs: 0, instanceId })
  expect(await statusOf(id)).toBe('sent')
})

test('a stale holder writes nothing', async () => {
  const id = await sent('A')
  await expected('A', [ANA])
  const stale = { ...owner(), fence: { ...lease, epoch: lease.epoch - 1n } }
  await storeReceipts({ db, ids }, stale, [receipt('A', 'read', ANA)])
  await expectReceipts(db, stale.fence, { tenantId, instanceId, whatsappId: 'A' }, [{ member: '9', alias: null }])
  expect(await statusOf(id)).toBe('sent')
  expect(await listMemberReceipts(db, tenantId, id)).toMatchObject([{ lid: '1', readAt: null }])
})

test('many at once, of a large group, are each counted', async () => {
  const id = await sent('A')
  const many = Array.from({ length: 300 }, (_, n) => ({ lid: String(1_000 + n) }))
  await expected('A', many)
  await Promise.all(
    [0, 1, 2].map((part) =>
      storeReceipts(
        { db, ids },
        owner(),
        many.filter((_, n) => n % 3 === part).map((one) => receipt('A', 'read', one)),
      ),
    ),
  )
  expect(await statusOf(id)).toBe('read')
})

test('are forgotten after their time', async () => {
  const id = await sent('A')
  await expected('A', [ANA])
  expect(await purgeMemberReceipts(db, new Date(Date.now() - 3_600_000))).toBe(0)
  await purgeMemberReceipts(db, new Date(Date.now() + 3_600_000))
  expect(await listMemberReceipts(db, tenantId, id)).toEqual([])
})

// Helpers

const owner = () => ({ tenantId, instanceId, fence: lease })

async function sent(whatsappId: string, origin = 'api'): Promise<MessageId> {
  const id = ids.next('msg')
  await db.execute(sql`
    insert into message (id, tenant_id, instance_id, chat_id, direction, whatsapp_id, type, content, origin, status)
    values (${id}, ${tenantId}, ${instanceId}, ${chatId}, 'outbound', ${whatsappId}, 'text', '{"type":"text"}', ${origin}, 'sent')`)
  return id
}

const expected = (whatsappId: string, members: readonly WhatsAppAddress[]) =>
  expectReceipts(
    db,
    lease,
    { tenantId, instanceId, whatsappId },
    members.flatMap((member) => memberKey(member) ?? []),
  )

const receipt = (whatsappId: string, status: Receipt['status'], member: WhatsAppAddress): Receipt => ({
  ...{ whatsappIds: [whatsappId], chat: { groupJid: GROUP }, status, at: new Date(), member },
})

const receive = (whatsappId: string, status: Receipt['status'], member: WhatsAppAddress) =>
  storeReceipts({ db, ids }, owner(), [receipt(whatsappId, status, member)])

const statusOf = async (id: MessageId) => (await findMessage(db, tenantId, id))?.status
