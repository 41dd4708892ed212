import { randomBytes } from 'node:crypto'
import sql from 'sql-template-tag'
import { beforeEach, describe, expect, test } from 'vitest'
import { buildInstance, takeLease } from '../../../test/support/factories.js'
import type { Answer, TestServer } from '../../../test/support/http-server.js'
import { useTestServer } from '../../../test/support/use-server.js'
import { type ChatId, createIdGenerator, type InstanceId, type MessageId, publicId } from '../../kernel/ids.js'
import type { Database } from '../../platform/database/database.js'
import type { Lease } from '../../platform/leases/lease.js'
import { createAddressBook } from '../contacts/address-book.js'
import { DEFAULT_TENANT_ID } from '../tenants/tenant.js'
import { abandonMessages } from './abandon-messages.js'
import { type AcceptItem, acceptBatch } from './accept-store.js'
import { createCancelResend } from './cancel-resend.js'
import { cancelResendRoutes } from './cancel-resend-routes.js'
import { type ClaimedHead, claimHeads, type Outcome, settleHeads } from './lane-store.js'
import { failHeldMessage, findAwaited, markFailed } from './media-store.js'
import type { MessageStatus } from './message.js'
import { applyReceipts } from './receipt-store.js'

const ids = createIdGenerator()
const tenantId = DEFAULT_TENANT_ID
let http: TestServer
let key: string
let db: Database
let instanceId: InstanceId
let lease: Lease
let chat: ChatId

useTestServer(
  (own) => [cancelResendRoutes({ change: createCancelResend({ db: own, ids }) })],
  async (made) => {
    ;({ db, http } = made)
    key = await http.newKey({ scopes: ['send'] })
  },
)
beforeEach(async () => {
  instanceId = await buildInstance(db, tenantId)
  lease = await takeLease(db, instanceId)
  chat = await chatWith('+5511987654321')
})

const sent = (): Outcome => ({ to: 'sent', at: new Date() })
const refused: Outcome = { to: 'failed', code: 'refused_500', detail: 'WhatsApp refused this message.' }
const surelyNot: Outcome = { to: 'queued', dueInMs: 0, strike: false, code: 'not_connected' }
const maybe: Outcome = { to: 'sending', dueInMs: 0, strike: true, code: 'ack_timeout' }
const gaveUp: Outcome = { to: 'unknown', code: 'ack_timeout' }

describe('cancel', () => {
  test('takes a waiting message back, tells it as an event, and the lane goes on without it', async () => {
    const [first, second, third] = await accept(3)
    const answer = await cancel(second)
    expect(answer).toMatchObject({ status: 200, json: { id: publicId('msg', second), status: 'cancelled' } })
    expect(await drain()).toEqual([first, third])
    expect(await statusOf(second)).toBe('cancelled')
    expect(await eventTypes(second)).toEqual(['message.queued', 'message.cancelled'])
  })

  test('takes the head of a lane back', async () => {
    const [first, second] = await accept(2)
    await cancel(first)
    expect(await drain()).toEqual([second])
    const [third] = await accept(1)
    await cancel(third)
    expect(await claim()).toEqual([])
    const [fourth] = await accept(1)
    expect(await drain()).toEqual([fourth])
  })

  test('said twice does it once', async () => {
    const [id] = await accept(1)
    expect((await cancel(id)).json).toEqual((await cancel(id)).json)
    expect(await eventTypes(id)).toEqual(['message.queued', 'message.cancelled'])
  })

  test('and a claim at the same instant: it is cancelled and never claimed, or claimed and refused', async () => {
    const outcomes = { cancelled: 0, claimed: 0 }
    for (let round = 0; round < 60; round++) {
      const [id] = await accept(1)
      const [answer, heads] = await Promise.all([cancel(id), claim()])
      const taken = heads.filter(({ messageId, status }) => messageId === id && status === 'sending')
      if (answer.status === 200) {
        outcomes.cancelled += 1
        expect(taken).toEqual([])
        expect(await claim()).toEqual([])
      } else {
        outcomes.claimed += 1
        expect(answer).toMatchObject({ status: 409, json: { code: 'message_on_its_way' } })
        expect(taken).toHaveLength(1)
        for (const head of taken) await settle(head, sent())
      }
    }
    expect(outcomes.cancelled + outcomes.claimed).toBe(60)
  })

  test('is refused, with a code for each, where the message is on its way, sent, ended, or not ours', async () => {
    const [onItsWay] = await accept(1)
    const head = must((await claim())[0])
    expect((await cancel(onItsWay)).json.code).toBe('message_on_its_way')
    await settle(head, sent())
    expect((await cancel(onItsWay)).json.code).toBe('message_already_sent')
    const [failed] = await accept(1)
    await settle(must((await claim())[0]), refused)
    expect(await cancel(failed)).toMatchObject({ status: 409, json: { code: 'message_ended', action: /./ } })
    expect((await cancel(await received())).json.code).toBe('message_not_sent_by_you')
    expect((await cancel(ids.next('msg'))).status).toBe(404)
  })

  test('is for a message that waits for another try only where no try may have brought it to WhatsApp', async () => {
    const [safe] = await accept(1)
    await settle(must((await claim())[0]), surelyNot)
    expect((await cancel(safe)).status).toBe(200)
    const [doubtful] = await accept(1)
    await settle(must((await claim())[0]), maybe)
    await settle(must((await claim())[0]), surelyNot)
    expect(await statusOf(doubtful)).toBe('queued')
    expect((await cancel(doubtful)).json.code).toBe('message_on_its_way')
  })

  test('never reaches the message of another tenant, and needs the scope', async () => {
    const [id] = await accept(1)
    const foreign = await http.newKey({ tenantId: await http.newTenant(), scopes: ['send'] })
    expect((await http.ask('POST', pathOf(id, 'cancel'), { key: foreign })).status).toBe(404)
    expect((await http.ask('POST', pathOf(id, 'resend'), { key: foreign })).status).toBe(404)
    const reader = await http.newKey({ scopes: ['read'] })
    expect((await http.ask('POST', pathOf(id, 'cancel'), { key: reader })).status).toBe(403)
    expect(await drain()).toEqual([id])
  })
})

describe('resend', () => {
  test.each([
    ['failed', refused],
    ['unknown', gaveUp],
  ] as const)('puts what is %s at the end of its lane, under the same WhatsApp id', async (status, outcome) => {
    const [first] = await accept(1)
    const before = must((await claim())[0])
    await settle(before, outcome)
    expect(await statusOf(first)).toBe(status)
    const [second] = await accept(1)
    expect(await resend(first)).toMatchObject({
      status: 202,
      json: { whatsappId: before.whatsappId, status: 'queued' },
    })
    const [third] = await accept(1)
    const heads: ClaimedHead[] = []
    expect(await drain((head) => heads.push(head))).toEqual([second, first, third])
    expect(heads[1]).toMatchObject({ whatsappId: before.whatsappId, attempts: 2, strikes: 0 })
    expect(await statusOf(first)).toBe('sent')
  })

  test('said twice before the next try takes one place', async () => {
    const [id] = await accept(1)
    await settle(must((await claim())[0]), gaveUp)
    const answers = await Promise.all([resend(id), resend(id), resend(id)])
    expect(answers.map(({ status }) => status)).toEqual([202, 202, 202])
    expect(await drain()).toEqual([id])
    expect(await eventTypes(id)).toEqual(['message.queued', 'message.unknown', 'message.queued', 'message.sent'])
  })

  test('may be done again when that failed too', async () => {
    const [id] = await accept(1)
    for (let round = 0; round < 3; round++) {
      await settle(must((await claim())[0]), refused)
      expect((await resend(id)).status).toBe(202)
    }
    expect(await drain()).toEqual([id])
  })

  test('is refused while the message is on its way, when it is sent, cancelled, received, or has no number any more', async () => {
    const [id] = await accept(1)
    expect((await resend(id)).json.code).toBe('message_on_its_way')
    const head = must((await claim())[0])
    expect((await resend(id)).json.code).toBe('message_on_its_way')
    await settle(head, sent())
    expect(await resend(id)).toMatchObject({ status: 409, json: { code: 'message_already_sent', action: /./ } })
    const [cancelled, failed] = await accept(2)
    await cancel(cancelled)
    expect((await resend(cancelled)).json.code).toBe('message_ended')
    expect((await resend(await received())).json.code).toBe('message_not_sent_by_you')
    await settle(must((await claim())[0]), refused)
    await db.execute(sql`update instance set enabled = false where id = ${instanceId}`)
    expect((await resend(failed)).json.code).toBe('instance_disabled')
    await db.execute(sql`update instance set deleted_at = now() where id = ${instanceId}`)
    expect((await resend(failed)).json.code).toBe('message_ended')
  })

  test('of a message whose link was fetched in vain fetches it again, and only then sends', async () => {
    const mediaId = ids.next('med')
    const fetch = { type: 'image', filename: null, storageKey: mediaId } as const
    const content = { type: 'image', image: { link: 'https://example.com/a.jpg' } } as const
    const [id] = await accept(1, { content, media: { id: mediaId, fetch } })
    const jobCount = async (): Promise<number> =>
      (await db.query(sql`select from job where kind = 'fetch-media' and subject_id = ${mediaId}`)).length
    await markFailed(db, tenantId, mediaId, 'media_unavailable')
    await failHeldMessage(db, tenantId, id, { code: 'media_unavailable', detail: 'It answered 404.' })
    expect([await statusOf(id), await jobCount()]).toEqual(['failed', 1])
    const [first, second] = [await resend(id), await resend(id)]
    expect([first.status, second.status]).toEqual([202, 202])
    expect(await findAwaited(db, tenantId, mediaId)).toMatchObject({ messageId: id })
    expect([await statusOf(id), await jobCount()]).toEqual(['queued', 2])
    expect(await claim()).toEqual([])
  })

  test('waits until a try is over whose refusal came first', async () => {
    const [id] = await accept(1)
    const head = must((await claim())[0])
    const late = { tenantId, instanceId, whatsappId: head.whatsappId, status: 'failed', at: new Date() } as const
    await applyReceipts(db, lease, [{ ...late, errorCode: '479', eventId: ids.next('evt') }])
    expect(await statusOf(id)).toBe('failed')
    expect((await resend(id)).json.code).toBe('message_on_its_way')
    await settle(head, refused)
    expect((await resend(id)).status).toBe(202)
    expect(await drain()).toEqual([id])
  })

  test('races against accepts, cancels and the drain without a gap, a double or a stuck lane', async () => {
    const accepted = await accept(20)
    for (let n = 0; n < 10; n++) await settle(must((await claim())[0]), gaveUp)
    const waiting = accepted.slice(10)
    await Promise.all([
      ...accepted.slice(0, 10).map((id) => resend(id)),
      ...waiting.slice(0, 5).map((id) => cancel(id)),
      accept(5),
    ])
    const order = await drain()
    expect(new Set(order).size).toBe(order.length)
    expect(order).toHaveLength(20)
    expect(await claim()).toEqual([])
    for (const id of waiting.slice(0, 5)) expect(await statusOf(id)).toBe('cancelled')
  })

  test('is not for what a deleted instance left behind', async () => {
    const [id] = await accept(1)
    await db.tx((tx) => abandonMessages(tx, tenantId, instanceId))
    await db.execute(sql`update instance set deleted_at = now() where id = ${instanceId}`)
    expect((await resend(id)).json.code).toBe('message_ended')
  })
})

// Helpers

const pathOf = (id: MessageId, verb: string): string => `/api/messages/${publicId('msg', id)}/${verb}`
const cancel = (id: MessageId): Promise<Answer> => http.ask('POST', pathOf(id, 'cancel'), { key })
const resend = (id: MessageId): Promise<Answer> => http.ask('POST', pathOf(id, 'resend'), { key })
const claim = (): Promise<ClaimedHead[]> => claimHeads(db, lease, instanceId, 8)

async function settle(head: ClaimedHead, outcome: Outcome): Promise<void> {
  const eventId = ids.next('evt')
  await settleHeads(db, [{ fence: lease, instanceId, head, outcome, eventId }])
}

/** Claims and sends until nothing is left. Resolves to what was sent, in order. */
async function drain(see: (head: ClaimedHead) => void = () => {}): Promise<MessageId[]> {
  const order: MessageId[] = []
  for (;;) {
    const heads = await claim()
    if (heads.length === 0) return order
    for (const head of heads) {
      const isPassed = head.status !== 'sending'
      if (!isPassed) order.push(head.messageId)
      see(head)
      await settle(head, isPassed ? { to: 'passed' } : sent())
    }
  }
}

async function accept<Count extends number>(
  count: Count,
  change: Partial<AcceptItem> = {},
): Promise<MessageId[] & Record<0 | 1 | 2 | 3, MessageId>> {
  const items = Array.from(
    { length: count },
    (): AcceptItem => ({
      messageId: ids.next('msg'),
      tenantId,
      instanceId,
      chatId: chat,
      whatsappId: `3EB0${randomBytes(9).toString('hex').toUpperCase()}`,
      content: { type: 'text', text: { body: 'oi' } },
      origin: 'api',
      metadata: null,
      eventId: ids.next('evt'),
      idempotency: null,
      ...change,
    }),
  )
  await acceptBatch(db, items)
  return items.map(({ messageId }) => messageId) as MessageId[] & Record<0 | 1 | 2 | 3, MessageId>
}

async function received(): Promise<MessageId> {
  const id = ids.next('msg')
  await db.execute(sql`
    insert into message (id, tenant_id, instance_id, chat_id, sender_id, direction, whatsapp_id, type, content, origin, status)
    select ${id}, ${tenantId}, ${instanceId}, id, contact_id, 'inbound', ${id}, 'text', '{"type":"text"}', 'contact', 'received'
    from chat where id = ${chat}`)
  return id
}

async function chatWith(phone: string): Promise<ChatId> {
  const addressBook = createAddressBook({ db, ids })
  return (await addressBook.chatWith(tenantId, instanceId, { kind: 'phone', value: phone })).chatId
}

async function statusOf(id: MessageId): Promise<MessageStatus | undefined> {
  const [row] = await db.query<{ status: MessageStatus }>(sql`select status from message where id = ${id}`)
  return row?.status
}

async function eventTypes(id: MessageId): Promise<string[]> {
  const rows = await db.query<{ type: string }>(sql`select type from event where subject_id = ${id} order by seq`)
  return rows.map(({ type }) => type)
}

function must<Value>(value: Value | undefined): Value {
  if (value === undefined) throw new Error('nothing there')
  return value
}
