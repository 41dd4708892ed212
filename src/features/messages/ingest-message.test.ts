import { randomBytes } from 'node:crypto'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js'
import { buildInstance, buildTenant, takeLease } from '../../../test/support/factories.js'
import { systemClock } from '../../kernel/clock.js'
import { newKey } from '../../kernel/crypto.js'
import { createIdGenerator, type InstanceId, type TenantId } from '../../kernel/ids.js'
import { silentLogger } from '../../kernel/logger.js'
import type { Lease } from '../../platform/leases/lease.js'
import type { InboundMessage } from '../../platform/whatsapp/whatsapp.js'
import { createAddressBook } from '../contacts/address-book.js'
import { createDataKeys, kekOf } from '../tenants/data-keys.js'
import { createIngest, type Ingest } from './ingest-message.js'
import { listMessages } from './message-store.js'
import { applyReceipts } from './receipt-store.js'

const ids = createIdGenerator()
let database: TestDatabase
let ingest: Ingest
let tenantId: TenantId
let instanceId: InstanceId
let lease: Lease

beforeAll(async () => {
  database = await createTestDatabase()
  const { db } = database
  ingest = createIngest({
    db,
    ids,
    addressBook: createAddressBook({ db, ids }),
    dataKeys: createDataKeys({ db, kek: kekOf(newKey()) }),
    clock: systemClock,
    logger: silentLogger,
  })
})
afterAll(() => database.drop())
beforeEach(async () => {
  tenantId = await buildTenant(database.db)
  instanceId = await buildInstance(database.db, tenantId)
  lease = await takeLease(database.db, instanceId)
})

test('a NUL or half a surrogate pair in a text or a name costs that character and nothing else', async () => {
  await take([message({ pushName: 'An\0a', text: 'a\0b' }), message({ text: 'c\ud800d' }), message({ text: 'fine' })])
  expect(await bodies()).toEqual(['a\uFFFDb', 'c\uFFFDd', 'fine'])
})

test('one message under one id twice in a batch is stored once, readable if either copy was', async () => {
  const broken: Partial<InboundMessage> = { content: { type: 'undecryptable', undecryptable: { reason: 'Bad MAC' } } }
  const [first, second] = [await raw(), await raw()]
  await take([
    message({ whatsappId: 'SAME', text: 'healed' }, { ...broken, encHashes: [first] }),
    message({ whatsappId: 'SAME', text: 'healed' }, { encHashes: [second] }),
    message({ whatsappId: 'OTHER', text: 'next' }),
  ])
  expect(await bodies()).toEqual(['healed', 'next'])
  expect(await openRawCount()).toBe(0)
})

test('two people may use one id in one batch', async () => {
  await take([
    message({ whatsappId: 'SAME', text: 'from Ana' }),
    message({ whatsappId: 'SAME', text: 'from Bea', waId: '5511900000002' }),
    message({ whatsappId: 'SAME', text: 'from our own phone' }, { sender: undefined }),
  ])
  expect(await bodies()).toEqual(['from Ana', 'from Bea', 'from our own phone'])
})

test('a receipt that came before the message that our phone wrote is applied with it', async () => {
  const early = { tenantId, instanceId, whatsappId: 'EARLY', at: new Date(), errorCode: null }
  await applyReceipts(database.db, lease, [{ ...early, status: 'read', eventId: ids.next('evt') }])
  await take([message({ whatsappId: 'EARLY', text: 'from the phone' }, { sender: undefined })])
  const [row] = await listMessages(database.db, tenantId, { limit: 10 })
  expect(row).toMatchObject({ status: 'read', origin: 'phone' })
})

test('a read receipt that overtakes the acknowledgement tells of the sending too', async () => {
  const { db } = database
  const { chatId } = await createAddressBook({ db, ids }).chatWith(tenantId, instanceId, {
    kind: 'phone',
    value: '+5511987654321',
  })
  await db.execute(sql`
    insert into message (id, tenant_id, instance_id, chat_id, direction, whatsapp_id, type, content, origin, status)
    values (${ids.next('msg')}, ${tenantId}, ${instanceId}, ${chatId}, 'outbound', 'FAST', 'text', '{"type":"text"}',
      'api', 'sending')`)
  const receipt = { whatsappIds: ['FAST'], chat: {}, status: 'delivered', at: new Date() } as const
  const session = { tenantId, instanceId, lease, connection: {} as never, signal: new AbortController().signal }
  await ingest.received?.(session, { type: 'receipt', receipt })
  await expect.poll(eventTypes).toEqual(['message.sent', 'message.delivered'])
})

// Helpers

const take = (messages: readonly InboundMessage[]) => ingest.ingest({ tenantId, instanceId, fence: lease }, messages)

interface Said {
  readonly text: string
  readonly whatsappId?: string
  readonly waId?: string
  readonly pushName?: string
}

function message(
  { text, whatsappId = randomBytes(6).toString('hex'), waId = '5511987654321', pushName }: Said,
  change: Partial<InboundMessage> = {},
): InboundMessage {
  return {
    whatsappId,
    chat: { waId },
    sender: { waId },
    ...(pushName === undefined ? {} : { pushName }),
    at: new Date(),
    content: { type: 'text', text: { body: text } },
    encHashes: [],
    offline: false,
    ...change,
  }
}

async function bodies(): Promise<string[]> {
  const rows = (await listMessages(database.db, tenantId, { limit: 10 })).toReversed()
  return rows.map(({ content }) => (content.type === 'text' ? content.text.body : content.type))
}

async function raw(): Promise<Buffer> {
  const encHash = randomBytes(32)
  await database.db.execute(sql`
    insert into inbound_raw (instance_id, tenant_id, enc_hash, sealed)
    values (${instanceId}, ${tenantId}, ${encHash}, ''::bytea)`)
  return encHash
}

async function openRawCount(): Promise<number> {
  const rows = await database.db.query(
    sql`select 1 from inbound_raw where instance_id = ${instanceId} and done_at is null`,
  )
  return rows.length
}

async function eventTypes(): Promise<string[]> {
  const rows = await database.db.query<{ type: string }>(
    sql`select type from event where tenant_id = ${tenantId} order by seq`,
  )
  return rows.map(({ type }) => type)
}
