import { randomBytes } from 'node:crypto'
import sql from 'sql-template-tag'
import { expect, test } from 'vitest'
import { buildInstance, takeLease } from '../../../test/support/factories.js'
import { useInstance } from '../../../test/support/use-instance.js'
import { createIdGenerator, type InstanceId, type MessageId, type TenantId } from '../../kernel/ids.js'
import type { Database, Tx } from '../../platform/database/database.js'
import { createAddressBook } from '../contacts/address-book.js'
import { abandonMessages } from './abandon-messages.js'
import { acceptBatch } from './accept-store.js'
import { claimHeads } from './lane-store.js'
import { findMessage } from './message-store.js'

const ids = createIdGenerator()
let db: Database
let tenantId: TenantId
let instanceId: InstanceId

useInstance((place) => {
  ;({ db, tenantId, instanceId } = place)
})

test('what waits is failed, what may have left is unknown, each with one event, and nothing is due any more', async () => {
  const [first, second] = [await accept(), await accept()]
  const lease = await takeLease(db, instanceId)
  expect(await claimHeads(db, lease, instanceId, 8)).toHaveLength(1)
  await abandon()
  await abandon()
  expect(await findMessage(db, tenantId, first)).toMatchObject({ status: 'unknown', errorCode: 'instance_deleted' })
  expect(await findMessage(db, tenantId, second)).toMatchObject({
    status: 'failed',
    errorCode: 'instance_deleted',
    failedAt: expect.any(Date),
  })
  expect(await eventsOf(first)).toEqual(['message.queued', 'message.unknown'])
  expect(await eventsOf(second)).toEqual(['message.queued', 'message.failed'])
  const lanes = await db.query(sql`
    select from chat_lane where instance_id = ${instanceId} and (head_seq < next_seq or head_due_at is not null)`)
  expect(lanes).toEqual([])
})

test('messages of other instances stay as they are', async () => {
  const other = await buildInstance(db, tenantId)
  const theirs = await accept(other)
  await abandon()
  expect(await findMessage(db, tenantId, theirs)).toMatchObject({ status: 'queued' })
})

test('what is accepted while the lanes are waited for is not left behind', async () => {
  await accept()
  let abandoning: Promise<void> | undefined
  const id = await db.tx(async (tx) => {
    const messageId = await accept(instanceId, tx)
    abandoning = abandon()
    await untilWaitedFor(tx)
    return messageId
  })
  await abandoning
  expect(await findMessage(db, tenantId, id)).toMatchObject({ status: 'failed' })
})

// Helpers

const abandon = () => db.tenantTx(tenantId, (tx) => abandonMessages(tx, tenantId, instanceId))

async function accept(instance = instanceId, on: Pick<Database, 'query' | 'execute'> = db): Promise<MessageId> {
  const book = createAddressBook({ db, ids })
  const { chatId } = await book.chatWith(tenantId, instance, { kind: 'phone', value: '+5511987654321' })
  const messageId = ids.next('msg')
  const outcomes = await acceptBatch(on, [
    {
      messageId,
      tenantId,
      instanceId: instance,
      chatId,
      whatsappId: `3EB0${randomBytes(9).toString('hex').toUpperCase()}`,
      content: { type: 'text', text: { body: 'oi' } },
      origin: 'api',
      metadata: null,
      eventId: ids.next('evt'),
      idempotency: null,
    },
  ])
  expect(outcomes).toEqual(['accepted'])
  return messageId
}

async function eventsOf(messageId: MessageId): Promise<string[]> {
  const rows = await db.query<{ type: string }>(
    sql`select type from event where subject_id = ${messageId} order by seq`,
  )
  return rows.map(({ type }) => type)
}

/** Until somebody waits for a row that this transaction has locked. */
async function untilWaitedFor(tx: Tx): Promise<void> {
  const deadline = performance.now() + 60_000
  while (performance.now() < deadline) {
    const waiting = sql`select from pg_locks where not granted and transactionid = pg_current_xact_id()::xid`
    if ((await tx.query(waiting)).length > 0) return
  }
  throw new Error('nobody waits for a lock')
}
