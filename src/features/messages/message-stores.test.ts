import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import sql from 'sql-template-tag'
import { describe, expect, test } from 'vitest'
import { analyze } from '../../../test/support/database.js'
import { buildInstance, buildTenant, takeLease } from '../../../test/support/factories.js'
import { pagesTouched } from '../../../test/support/pages-touched.js'
import { useInstance } from '../../../test/support/use-instance.js'
import { type ChatId, createIdGenerator, type InstanceId, type MessageId, type TenantId } from '../../kernel/ids.js'
import type { Database } from '../../platform/database/database.js'
import type { Lease } from '../../platform/leases/lease.js'
import { createAddressBook } from '../contacts/address-book.js'
import { type AcceptItem, acceptBatch } from './accept-store.js'
import { openRawRows, storeInbound } from './ingest-store.js'
import { type ClaimedHead, claimHeads, type Outcome, recoverLanes, settleHeads } from './lane-store.js'
import { type MessageStatus, movesForward, type ReceiptStatus, rank } from './message.js'
import { findMessage, listMessages } from './message-store.js'
import { applyReceipts } from './receipt-store.js'

const ids = createIdGenerator()
const allReceipts: readonly ReceiptStatus[] = ['sent', 'delivered', 'read', 'played', 'failed']
let db: Database
let tenantId: TenantId
let instanceId: InstanceId
let lease: Lease
let chat: ChatId

useInstance(async (place) => {
  ;({ db, tenantId, instanceId } = place)
  lease = await takeLease(db, instanceId)
  chat = await chatWith('+5511987654321')
})

describe('accepting', () => {
  test('a batch takes places in its lanes in the order of the items', async () => {
    const other = await chatWith('+5511900000001')
    const items = [item(), item({ chatId: other }), item(), item()]
    expect(await acceptBatch(db, items)).toEqual(['accepted', 'accepted', 'accepted', 'accepted'])
    const rows = await db.query<{ id: string; seq: number }>(
      sql`select id, chat_seq::int as seq from message where chat_id = ${chat} order by chat_seq`,
    )
    expect(rows.map((row) => row.id)).toEqual([items[0]?.messageId, items[2]?.messageId, items[3]?.messageId])
    expect(rows.map((row) => row.seq)).toEqual([1, 2, 3])
  })

  test('each item is judged alone: a disabled, a foreign and an unknown instance do not stop the others', async () => {
    const disabled = await buildInstance(db, tenantId, { enabled: false })
    const foreign = await buildInstance(db, await buildTenant(db))
    const outcomes = await acceptBatch(db, [
      item({ instanceId: disabled }),
      item({ instanceId: foreign }),
      item({ instanceId: ids.next('ins') }),
      item(),
      item({ chatId: ids.next('cht') }),
    ])
    expect(outcomes).toEqual(['instance_disabled', 'unknown_instance', 'unknown_instance', 'accepted', 'unknown_chat'])
    expect(await listMessages(db, tenantId, { limit: 10 })).toHaveLength(1)
  })

  test('a taken idempotency key stores nothing', async () => {
    const idempotency = { route: 'r', key: 'k', fingerprint: Buffer.of(1), response: { id: 'first' } }
    expect(await acceptBatch(db, [item({ idempotency })])).toEqual(['accepted'])
    expect(await acceptBatch(db, [item({ idempotency }), item()])).toEqual(['key_taken', 'accepted'])
    expect(await listMessages(db, tenantId, { limit: 10 })).toHaveLength(2)
  })

  test('a WhatsApp id that exists fails loudly instead of dropping the message', async () => {
    const first = item()
    await acceptBatch(db, [first])
    await expect(acceptBatch(db, [item({ whatsappId: first.whatsappId })])).rejects.toThrow(/message_outbound/)
  })

  test('many writers at once leave no gap and no double in the lane or in the event sequence', async () => {
    const batches = Array.from({ length: 20 }, () => Array.from({ length: 10 }, () => item()))
    await Promise.all(batches.map((batch) => acceptBatch(db, batch)))
    const [lane] = await db.query<{ seqs: number; top: number; next: number }>(sql`
      select count(distinct chat_seq)::int as seqs, max(chat_seq)::int as top,
        (select next_seq::int from chat_lane where chat_id = ${chat}) as next
      from message where chat_id = ${chat}`)
    expect(lane).toEqual({ seqs: 200, top: 200, next: 201 })
    const [events] = await db.query<{ n: number; top: number }>(sql`
      select count(distinct seq)::int as n, max(seq)::int as top from event where tenant_id = ${tenantId}`)
    expect(events).toEqual({ n: 200, top: 200 })
  })
})

describe('draining', () => {
  test('a lane gives one message at a time, in order', async () => {
    const accepted = [item(), item(), item()]
    await acceptBatch(db, accepted)
    const order: MessageId[] = []
    for (let turn = 0; turn < 3; turn++) {
      const [head, ...more] = await claim()
      expect(more).toEqual([])
      expect(await claim()).toEqual([])
      order.push(must(head).messageId)
      await settle(must(head), { to: 'sent', at: new Date() })
    }
    expect(order).toEqual(accepted.map(({ messageId }) => messageId))
    expect(await claim()).toEqual([])
  })

  test('a message accepted while the head is in flight is found when the head is settled', async () => {
    await acceptBatch(db, [item()])
    const head = must((await claim())[0])
    await acceptBatch(db, [item()])
    await settle(head, { to: 'sent', at: new Date() })
    expect(await claim()).toHaveLength(1)
  })

  test('accepting and settling at the same instant never strands a message', async () => {
    await acceptBatch(db, [item()])
    for (let round = 0; round < 50; round++) {
      const head = must((await claim())[0])
      await Promise.all([settle(head, { to: 'sent', at: new Date() }), acceptBatch(db, [item()])])
    }
    expect(await claim()).toHaveLength(1)
  })

  test('a resend keeps its place and its WhatsApp id; a later message waits behind it', async () => {
    const first = item()
    await acceptBatch(db, [first, item()])
    const head = must((await claim())[0])
    await settle(head, { to: 'sending', dueInMs: 0, strike: true, code: 'ack_timeout' })
    const again = must((await claim())[0])
    expect(again).toMatchObject({ messageId: first.messageId, whatsappId: first.whatsappId, strikes: 1 })
  })

  test('a message that is not due yet keeps its lane waiting, and nobody else’s', async () => {
    const other = await chatWith('+5511900000001')
    await acceptBatch(db, [item(), item({ chatId: other })])
    const heads = await claim()
    expect(heads).toHaveLength(2)
    await settle(must(heads[0]), { to: 'queued', dueInMs: 60_000, strike: false, code: 'not_connected' })
    await settle(must(heads[1]), { to: 'sent', at: new Date() })
    expect(await claim()).toEqual([])
  })

  test('a message that waits in the lane of a merged chat goes to the person of the chat it was merged into', async () => {
    const lost = await chatWith('+5511900000003')
    const one = item({ chatId: lost })
    await acceptBatch(db, [one])
    await db.execute(sql`update chat set merged_into = ${chat} where id = ${lost}`)
    await db.execute(sql`delete from contact_identity where tenant_id = ${tenantId} and value = '+5511900000003'`)
    expect(await claim()).toMatchObject([{ chatId: lost, messageId: one.messageId, phone: '+5511987654321' }])
    expect(await findMessage(db, tenantId, one.messageId)).toMatchObject({ phone: '+5511987654321' })
  })

  test('of two spellings of a number the one that WhatsApp knows is written to, and the first is shown', async () => {
    const one = item()
    await acceptBatch(db, [one])
    const alias = { exists: true, waId: '551187654321' }
    await createAddressBook({ db, ids }).learnCheck(tenantId, '+5511987654321', alias)
    expect(await claim()).toMatchObject([{ waId: '551187654321', onWhatsApp: true }])
    expect(await findMessage(db, tenantId, one.messageId)).toMatchObject({ phone: '+5511987654321' })
  })

  test('the next holder finds what its predecessor left in flight, under the same id', async () => {
    const lost = item()
    await acceptBatch(db, [lost])
    await claim()
    const successor = await takeLease(db, instanceId)
    expect(await claimHeads(db, successor, instanceId, 8)).toEqual([])
    await recoverLanes(db, successor, instanceId)
    const [head] = await claimHeads(db, successor, instanceId, 8)
    expect(head).toMatchObject({ whatsappId: lost.whatsappId, status: 'sending', attempts: 2 })
  })

  test('a zombie holder can neither claim nor settle after a takeover', async () => {
    await acceptBatch(db, [item(), item()])
    const head = must((await claim())[0])
    await takeLease(db, instanceId)
    expect(await claim()).toEqual([])
    expect(await settle(head, { to: 'sent', at: new Date() })).toBe(false)
    expect(await recoverLanes(db, lease, instanceId)).toBe(0)
    expect(await statusOf(head.messageId)).toBe('sending')
  })

  test('a settlement whose answer was lost may be written again', async () => {
    await acceptBatch(db, [item()])
    const head = must((await claim())[0])
    const unknown = settlement(lease, instanceId, head, { to: 'unknown', code: 'ack_timeout' })
    await settleHeads(db, [unknown])
    await settleHeads(db, [unknown])
    expect(await eventTypes(head.messageId)).toEqual(['message.queued', 'message.unknown'])
  })

  test('one statement settles heads of two instances, and only those still held', async () => {
    const second = await buildInstance(db, tenantId)
    const secondLease = await takeLease(db, second)
    const secondChat = await chatWith('+5511900000002', second)
    await acceptBatch(db, [item(), item({ instanceId: second, chatId: secondChat })])
    const [ours] = await claim()
    const [theirs] = await claimHeads(db, secondLease, second, 8)
    await takeLease(db, second)
    const owned = await settleHeads(db, [
      settlement(lease, instanceId, must(ours), { to: 'sent', at: new Date() }),
      settlement(secondLease, second, must(theirs), { to: 'sent', at: new Date() }),
    ])
    expect([...owned]).toEqual([lease.resource])
    expect(await statusOf(must(ours).messageId)).toBe('sent')
    expect(await statusOf(must(theirs).messageId)).toBe('sending')
  })

  test('claiming touches as many pages with 20,000 messages waiting as with 400', async () => {
    async function pagesOfAClaim(messages: number): Promise<number> {
      const id = await buildInstance(db, tenantId)
      const holder = await takeLease(db, id)
      await db.execute(sql`
        with c as (insert into contact (id, tenant_id) select uuid_v7(), ${tenantId} from generate_series(1, ${messages / 20}) returning id),
        h as (insert into chat (id, tenant_id, instance_id, contact_id) select uuid_v7(), ${tenantId}, ${id}, c.id from c returning id),
        l as (insert into chat_lane (chat_id, tenant_id, instance_id, next_seq, head_due_at)
          select h.id, ${tenantId}, ${id}, 21, now() from h)
        insert into message (id, tenant_id, instance_id, chat_id, direction, whatsapp_id, type, content, origin, status, chat_seq)
        select uuid_v7(), ${tenantId}, ${id}, h.id, 'outbound', h.id || '-' || s, 'text', '{"type":"text"}', 'api', 'queued', s
        from h, generate_series(1, 20) s`)
      await analyze(db)
      return db.tx(async (tx) => {
        const before = await pagesTouched(tx)
        await claimHeads(tx, holder, id, 16)
        return (await pagesTouched(tx)) - before
      })
    }
    const few = await pagesOfAClaim(400)
    const many = await pagesOfAClaim(20_000)
    expect(few).toBeGreaterThan(0)
    expect(many).toBeLessThan(few * 3)
  })
})

describe('receipts', () => {
  test('in any order and batching they move a message as the pure rule says', async () => {
    const steps = fc.array(fc.array(fc.constantFrom(...allReceipts), { minLength: 1 }), { maxLength: 4 })
    await fc.assert(
      fc.asyncProperty(steps, async (batches) => {
        const one = item({ chatId: await chatWith(`+55119${Math.floor(Math.random() * 89_999_999 + 10_000_000)}`) })
        await acceptBatch(db, [one])
        await claimHeads(db, lease, instanceId, 100)
        let expected: MessageStatus = 'sending'
        for (const batch of batches) {
          await applyReceipts(
            db,
            lease,
            batch.map((status) => receipt(one.whatsappId, status)),
          )
          const moves = batch.filter((status) => movesForward(expected, status))
          expected = moves.reduce<MessageStatus>((top, status) => (rank(status) > rank(top) ? status : top), expected)
        }
        expect(await statusOf(one.messageId)).toBe(expected)
      }),
      { numRuns: 60 },
    )
  })

  test('delivered and read in one batch are two events and two times', async () => {
    const one = item()
    await acceptBatch(db, [one])
    await settle(must((await claim())[0]), { to: 'sent', at: new Date() })
    await applyReceipts(db, lease, [receipt(one.whatsappId, 'delivered'), receipt(one.whatsappId, 'read')])
    const row = must(await findMessage(db, tenantId, one.messageId))
    expect(row.deliveredAt).not.toBeNull()
    expect(row.readAt).not.toBeNull()
    expect(await eventTypes(one.messageId)).toEqual([
      'message.queued',
      'message.sent',
      'message.delivered',
      'message.read',
    ])
  })

  test('a receipt that comes before the acknowledgement is not lost, and the lane goes on', async () => {
    const one = item()
    await acceptBatch(db, [one, item()])
    const head = must((await claim())[0])
    await applyReceipts(db, lease, [receipt(one.whatsappId, 'delivered')])
    await settle(head, { to: 'sent', at: new Date() })
    expect(await statusOf(one.messageId)).toBe('delivered')
    expect(await claim()).toHaveLength(1)
  })

  test('the receipts of a lost lease write nothing', async () => {
    const one = item()
    await acceptBatch(db, [one])
    await takeLease(db, instanceId)
    expect(await applyReceipts(db, lease, [receipt(one.whatsappId, 'read')])).toBe(false)
    expect(await statusOf(one.messageId)).toBe('queued')
  })
})

describe('ingesting', () => {
  test('a message is stored once, makes one event, and settles its raw row', async () => {
    const encHash = randomBytes(32)
    await db.execute(sql`insert into inbound_raw (instance_id, tenant_id, enc_hash, sealed, received_at)
      values (${instanceId}, ${tenantId}, ${encHash}, ''::bytea, now() - interval '1 minute')`)
    expect((await openRawRows(db, { olderThanMs: 10_000, limit: 100 })).map((row) => row.encHash)).toContainEqual(
      encHash,
    )
    const message = await inbound({ encHashes: [encHash] })
    await storeInbound(db, { fence: lease, tenantId, instanceId }, [message])
    await storeInbound(db, { fence: null, tenantId, instanceId }, [
      { ...message, messageId: ids.next('msg'), eventId: ids.next('evt') },
    ])
    expect(await eventTypes(message.messageId)).toEqual(['message.received'])
    expect(await listMessages(db, tenantId, { direction: 'inbound', limit: 10 })).toHaveLength(1)
    expect((await openRawRows(db, { olderThanMs: 10_000, limit: 100 })).map((row) => row.encHash)).not.toContainEqual(
      encHash,
    )
  })

  test('two senders may use the same id', async () => {
    const first = await inbound({ whatsappId: 'SAME' })
    const second = await inbound({ whatsappId: 'SAME' }, '+5511900000009')
    await storeInbound(db, { fence: lease, tenantId, instanceId }, [first, second])
    expect(await listMessages(db, tenantId, { direction: 'inbound', limit: 10 })).toHaveLength(2)
  })

  test('what could be decrypted at last replaces the note that it could not', async () => {
    const broken = await inbound({ content: { type: 'undecryptable', undecryptable: { reason: 'Bad MAC' } } })
    await storeInbound(db, { fence: lease, tenantId, instanceId }, [broken])
    const healed = { ...broken, messageId: ids.next('msg'), eventId: ids.next('evt'), content: text('at last') }
    await storeInbound(db, { fence: lease, tenantId, instanceId }, [healed])
    const [row] = await listMessages(db, tenantId, { direction: 'inbound', limit: 10 })
    expect(row).toMatchObject({ id: broken.messageId, content: text('at last') })
    expect(await eventTypes(broken.messageId)).toEqual(['message.received', 'message.received'])
  })

  test('a zombie holder stores nothing', async () => {
    await takeLease(db, instanceId)
    const message = await inbound()
    expect(await storeInbound(db, { fence: lease, tenantId, instanceId }, [message])).toBeUndefined()
    expect(await findMessage(db, tenantId, message.messageId)).toBeUndefined()
  })
})

test('a tenant reads its own messages only, even with the right id', async () => {
  const one = item()
  await acceptBatch(db, [one])
  const stranger = await buildTenant(db)
  expect(await findMessage(db, stranger, one.messageId)).toBeUndefined()
  expect(await db.tenantTx(stranger, (tx) => listMessages(tx, tenantId, { limit: 10 }))).toEqual([])
})

// Helpers

const text = (body: string) => ({ type: 'text' as const, text: { body } })

async function chatWith(phone: string, instance = instanceId): Promise<ChatId> {
  const book = createAddressBook({ db, ids })
  return (await book.chatWith(tenantId, instance, { kind: 'phone', value: phone })).chatId
}

function item(overrides: Partial<AcceptItem> = {}): AcceptItem {
  return {
    messageId: ids.next('msg'),
    tenantId,
    instanceId,
    chatId: chat,
    whatsappId: `3EB0${randomBytes(9).toString('hex').toUpperCase()}`,
    content: text('oi'),
    origin: 'api',
    metadata: null,
    eventId: ids.next('evt'),
    idempotency: null,
    ...overrides,
  }
}

const claim = () => claimHeads(db, lease, instanceId, 8)

const settlement = (fence: Lease, instance: InstanceId, head: ClaimedHead, outcome: Outcome) => ({
  fence,
  instanceId: instance,
  head,
  outcome,
  eventId: ids.next('evt'),
})

async function settle(head: ClaimedHead, outcome: Outcome): Promise<boolean> {
  return (await settleHeads(db, [settlement(lease, instanceId, head, outcome)])).has(lease.resource)
}

const receipt = (whatsappId: string, status: ReceiptStatus) => ({
  tenantId,
  instanceId,
  whatsappId,
  status,
  at: new Date(),
  errorCode: null,
  eventId: ids.next('evt'),
})

async function inbound(overrides: object = {}, phone = '+5511987654321') {
  const { chatId, contactId } = await createAddressBook({ db, ids }).chatWith(tenantId, instanceId, {
    kind: 'phone',
    value: phone,
  })
  return {
    messageId: ids.next('msg'),
    eventId: ids.next('evt'),
    chatId,
    senderId: contactId,
    whatsappId: randomBytes(8).toString('hex'),
    content: text('hello'),
    at: new Date(),
    encHashes: [],
    ...overrides,
  }
}

const statusOf = async (id: MessageId) => (await findMessage(db, tenantId, id))?.status

async function eventTypes(subjectId: MessageId): Promise<string[]> {
  const rows = await db.query<{ type: string }>(
    sql`select type from event where subject_id = ${subjectId} order by seq`,
  )
  return rows.map(({ type }) => type)
}

function must<Value>(value: Value | undefined): Value {
  if (value === undefined) throw new Error('expected a value')
  return value
}
