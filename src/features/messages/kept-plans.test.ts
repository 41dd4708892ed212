/** Named statements keep the plan of the day on which their tables were empty: it must enter each of them by an index. */
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js'
import { readWhole, statementOf } from '../../../test/support/kept-plan.js'
import { createIdGenerator } from '../../kernel/ids.js'
import type { Queryable } from '../../platform/database/database.js'
import { instanceResource } from '../../platform/leases/lease.js'
import { storeInbound } from './ingest-store.js'
import { findMessages } from './message-store.js'
import { applyReceipts, type ReceiptItem } from './receipt-store.js'

const ids = createIdGenerator()
const owner = { tenantId: ids.next('ten'), instanceId: ids.next('ins') }
const fence = { resource: instanceResource(owner.instanceId), epoch: 1n, token: randomUUID() }
const item = {
  messageId: ids.next('msg'),
  eventId: ids.next('evt'),
  chatId: ids.next('cht'),
  senderId: ids.next('con'),
  whatsappId: 'ID',
  content: { type: 'text', text: { body: 'Olá' } },
  at: new Date(),
  encHashes: [Buffer.alloc(32)],
} as const
const receipt: ReceiptItem = {
  ...{ ...owner, whatsappId: 'ID', at: new Date(), errorCode: null },
  status: 'read',
  eventId: ids.next('evt'),
}

let database: TestDatabase
beforeAll(async () => {
  database = await createTestDatabase()
})
afterAll(() => database.drop())

test.each<[string, (db: Queryable) => Promise<unknown>]>([
  ['ingest', (db) => storeInbound(db, { ...owner, fence }, [item])],
  ['ingest-swept', (db) => storeInbound(db, { ...owner, fence: null }, [item])],
  ['apply-receipts', (db) => applyReceipts(db, fence, [receipt])],
  ['find-messages', (db) => findMessages(db, owner.tenantId, [item.messageId])],
])('%s reads nothing whole', async (_name, send) => {
  expect(await readWhole(database.db, await statementOf(send))).toEqual([])
})
