import { randomBytes } from 'node:crypto'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js'
import { buildInstance, buildTenant, takeLease } from '../../../test/support/factories.js'
import { systemClock } from '../../kernel/clock.js'
import { newKey } from '../../kernel/crypto.js'
import { createIdGenerator, type InstanceId, type MessageId, type TenantId } from '../../kernel/ids.js'
import { silentLogger } from '../../kernel/logger.js'
import type { RawReading } from '../../platform/whatsapp/whatsapp.js'
import { createAddressBook } from '../contacts/address-book.js'
import { createJournalWriter } from '../instances/journal.js'
import { createDataKeys, type DataKeys, kekOf } from '../tenants/data-keys.js'
import { createIngest } from './ingest-message.js'
import { findMessage, listMessages } from './message-store.js'
import { createRawSweep, type RawSweep } from './sweep-raw.js'

const ids = createIdGenerator()
let database: TestDatabase
let dataKeys: DataKeys
let sweep: RawSweep
let tenantId: TenantId
let instanceId: InstanceId

beforeAll(async () => {
  database = await createTestDatabase()
  const { db } = database
  dataKeys = createDataKeys({ db, kek: kekOf(newKey()) })
  const common = { db, clock: systemClock, logger: silentLogger }
  sweep = createRawSweep({
    ...common,
    ids,
    dataKeys,
    random: Math.random,
    ingest: createIngest({ ...common, ids, addressBook: createAddressBook({ db, ids }), dataKeys }),
    provider: { readRaw: async (payload) => readingOf(String(payload)) },
    olderThanMs: 0,
  })
})
afterAll(() => database.drop())
beforeEach(async () => {
  tenantId = await buildTenant(database.db)
  instanceId = await buildInstance(database.db, tenantId)
})

test('what was received and never stored becomes messages, in the order of arrival, once', async () => {
  const texts = Array.from({ length: 250 }, (_, n) => `message ${n}`)
  await receive(texts)
  await sweep.sweep()
  await sweep.sweep()
  expect(await bodies()).toEqual(texts)
  expect(await openRawCount()).toBe(0)
})

test('what is no message is marked as what it is, and what cannot be read stays and holds nobody up', async () => {
  await receive(['first', 'damaged', 'other', 'second'])
  expect(await sweep.sweep()).toBe(3)
  expect(await bodies()).toEqual(['first', 'second'])
  expect(await openRawCount()).toBe(1)
})

test('whoever takes an instance over stores what its predecessor had received first', async () => {
  await receive(['before the crash'])
  await sweep.acquired?.(await takeLease(database.db, instanceId), tenantId, instanceId)
  expect(await bodies()).toEqual(['before the crash'])
})

test('a receipt that was journaled and never applied moves its message, and is forgotten', async () => {
  const { db } = database
  const lease = await takeLease(db, instanceId)
  const journal = await createJournalWriter({ db, clock: systemClock, dataKeys }).open(lease, { tenantId, instanceId })
  const id = await buildSending('SENT')
  const ana = { waId: '5511987654321' }
  journal.append({ receipt: { whatsappIds: ['SENT', 'NOT STORED'], chat: ana, status: 'read', at: new Date() } })
  await journal.close()
  await sweep.acquired?.(lease, tenantId, instanceId)
  expect((await findMessage(db, tenantId, id))?.status).toBe('read')
  const left = await db.query(sql`select whatsapp_id as id from early_receipt where instance_id = ${instanceId}`)
  expect(left).toEqual([{ id: 'NOT STORED' }])
})

// Helpers

function readingOf(text: string): RawReading {
  if (text === 'damaged') throw new Error('it is damaged')
  if (text === 'other') return { kind: 'other', as: 'protocol' }
  const ana = { waId: '5511987654321' }
  const content = { type: 'text', text: { body: text } } as const
  return {
    kind: 'message',
    message: { whatsappId: text, chat: ana, sender: ana, content, at: new Date(), offline: true },
  }
}

async function receive(texts: readonly string[]): Promise<void> {
  const lease = await takeLease(database.db, instanceId)
  const journals = createJournalWriter({ db: database.db, clock: systemClock, dataKeys })
  const journal = await journals.open(lease, { tenantId, instanceId })
  for (const text of texts) {
    journal.append({ changes: [], inbound: { encHash: randomBytes(32), payload: Buffer.from(text) } })
  }
  await journal.close()
}

async function buildSending(whatsappId: string): Promise<MessageId> {
  const id = ids.next('msg')
  const book = createAddressBook({ db: database.db, ids })
  const { chatId } = await book.chatAt(tenantId, instanceId, { waId: '5511987654321' })
  await database.db.execute(sql`
    insert into message (id, tenant_id, instance_id, chat_id, direction, whatsapp_id, type, content, origin, status)
    values (${id}, ${tenantId}, ${instanceId}, ${chatId}, 'outbound', ${whatsappId}, 'text', '{"type":"text"}', 'api',
      'sending')`)
  return id
}

async function bodies(): Promise<string[]> {
  const rows = await listMessages(database.db, tenantId, { limit: 1_000 })
  return rows.toReversed().map(({ content }) => ('text' in content ? content.text.body : content.type))
}

async function openRawCount(): Promise<number> {
  const [row] = await database.db.query<{ n: number }>(sql`
    select count(*)::int as n from inbound_raw where instance_id = ${instanceId} and done_at is null`)
  return row?.n ?? 0
}
