import { randomBytes } from 'node:crypto'
import sql from 'sql-template-tag'
import { beforeEach, describe, expect, test } from 'vitest'
import { buildInstance, takeLease } from '../../../test/support/factories.js'
import type { TestServer } from '../../../test/support/http-server.js'
import { useTestServer } from '../../../test/support/use-server.js'
import { type ChatId, createIdGenerator, type InstanceId, type MessageId, publicId } from '../../kernel/ids.js'
import type { Database } from '../../platform/database/database.js'
import { readerOf } from '../../platform/database/reader.js'
import type { Lease } from '../../platform/leases/lease.js'
import { createAddressBook } from '../contacts/address-book.js'
import { record } from '../events/record.js'
import { abandonMessages } from '../messages/abandon-messages.js'
import { acceptBatch } from '../messages/accept-store.js'
import { createCancelResend } from '../messages/cancel-resend.js'
import { storeInbound } from '../messages/ingest-store.js'
import { type ClaimedHead, claimHeads, type Outcome, recoverLanes, settleHeads } from '../messages/lane-store.js'
import { applyReceipts } from '../messages/receipt-store.js'
import { DEFAULT_TENANT_ID } from '../tenants/tenant.js'
import { insertDeliveries, recordAttempts } from '../webhooks/delivery-store.js'
import { traceRoutes } from './trace-routes.js'

const ids = createIdGenerator()
const tenantId = DEFAULT_TENANT_ID
let http: TestServer
let key: string
let db: Database
let instanceId: InstanceId
let lease: Lease
let chatId: ChatId

useTestServer(
  (own) => [traceRoutes({ reader: readerOf(own) })],
  async (made) => {
    ;({ db, http } = made)
    key = await http.newKey({ scopes: ['read'] })
  },
)
beforeEach(async () => {
  instanceId = await buildInstance(db, tenantId)
  await take('replica-a')
  const person = { kind: 'phone', value: '+5511987654321' } as const
  chatId = (await createAddressBook({ db, ids }).chatWith(tenantId, instanceId, person)).chatId
})

describe('the trace of a message', () => {
  test('that goes at the first try has every step with its time, and cost no row of its own', async () => {
    const { id, whatsappId } = await accept()
    expect(await stepsOf(id)).toEqual(['accepted', 'released'])
    const head = await claim()
    const leftAt = new Date()
    await settle(head, { to: 'sent', at: new Date(), leftAt })
    await receipt(whatsappId, 'delivered')
    await receipt(whatsappId, 'read')
    await receipt(whatsappId, 'played')
    expect(await stepsOf(id)).toEqual([
      'accepted',
      'released',
      'claimed 1',
      'left 1',
      'acknowledged',
      'delivered',
      'read',
      'played',
    ])
    const { steps, status, attempts } = await trace(id)
    expect({ status, attempts }).toEqual({ status: 'played', attempts: 1 })
    expect(steps[2]).toMatchObject({ epoch: Number(lease.epoch), replica: 'replica-a' })
    expect(steps[3].at).toBe(leftAt.toISOString())
    const times = steps.map((step: { at: string; recordedAt: string | null }) => step.recordedAt ?? step.at)
    expect(times).toEqual(times.toSorted())
    expect(await db.query(sql`select from message_step where message_id = ${id}`)).toEqual([])
  })

  test('that went wrong tells each try, under which replica, what it met, and what a person did', async () => {
    const { id } = await accept()
    await settle(await claim(), { to: 'queued', dueInMs: 0, strike: false, code: 'not_connected' })
    await claim()
    // Its process dies here: a claim without an end.
    await take('replica-b')
    await recoverLanes(db, lease, instanceId)
    await settle(await claim(), { to: 'sending', dueInMs: 0, strike: true, code: 'ack_timeout' })
    await settle(await claim(), { to: 'unknown', code: 'ack_timeout' })
    await createCancelResend({ db, ids }).resend(tenantId, id)
    await settle(await claim(), { to: 'failed', code: 'refused_500', detail: 'WhatsApp refused this message.' })
    expect(await stepsOf(id)).toEqual([
      'accepted',
      'released',
      'claimed 1',
      'not_sent 1 not_connected',
      'claimed 2',
      'claimed 3',
      'maybe_sent 3 ack_timeout',
      'claimed 4',
      'gave_up 4 ack_timeout',
      'resend 4',
      'claimed 5',
      'failed 5 refused_500',
    ])
    const claims = (await trace(id)).steps.filter(({ step }: { step: string }) => step === 'claimed')
    expect(claims.map(({ replica }: { replica: string }) => replica)).toEqual([
      'replica-a',
      'replica-a',
      'replica-b',
      'replica-b',
      'replica-b',
    ])
  })

  test('written twice, as after a lost answer, tells a try once', async () => {
    const { id } = await accept()
    const head = await claim()
    const outcome = { to: 'queued', dueInMs: 0, strike: true, code: 'not_connected' } as const
    await settle(head, outcome)
    await settle(head, outcome)
    expect(await stepsOf(id)).toEqual(['accepted', 'released', 'claimed 1', 'not_sent 1 not_connected'])
  })

  test('tells a resend of a first try, a cancellation, a refusal that came late, and the end of its instance', async () => {
    const resent = await accept()
    await settle(await claim(), { to: 'failed', code: 'no_address', detail: 'This contact has no address.' })
    await createCancelResend({ db, ids }).resend(tenantId, resent.id)
    await settle(await claim(), { to: 'sent', at: new Date() })
    expect(await stepsOf(resent.id)).toEqual([
      ...['accepted', 'released', 'claimed 1', 'failed 1 no_address', 'resend 1', 'claimed 2', 'acknowledged'],
    ])

    const cancelled = await accept()
    await createCancelResend({ db, ids }).cancel(tenantId, cancelled.id)
    expect(await stepsOf(cancelled.id)).toEqual(['accepted', 'released', 'cancelled 0'])

    const refused = await accept()
    const head = await claim()
    await receipt(refused.whatsappId, 'failed', '479')
    await settle(head, { to: 'passed' })
    const [abandoned, maybeSent] = [await accept(), await accept()]
    await settle(await claim(), { to: 'queued', dueInMs: 60_000, strike: false, code: 'not_connected' })
    await db.tx((tx) => abandonMessages(tx, tenantId, instanceId))
    expect(await stepsOf(refused.id)).toEqual(['accepted', 'released', 'claimed 1', 'failed 479'])
    expect((await stepsOf(abandoned.id)).at(-1)).toBe('failed instance_deleted')
    expect((await stepsOf(maybeSent.id)).at(-1)).toBe('failed instance_deleted')
  })

  test('shows each webhook delivery with its tries and what was answered', async () => {
    const { id } = await accept()
    await settle(await claim(), { to: 'sent', at: new Date() })
    const [endpointId, deliveryId] = [ids.next('whe'), ids.next('dlv')]
    await db.execute(sql`
      insert into webhook_endpoint (id, tenant_id, url, secret_sealed)
      values (${endpointId}, ${tenantId}, 'https://example.com', '')`)
    const [event] = await db.query<{ id: Parameters<typeof insertDeliveries>[1][number]['eventId'] }>(
      sql`select id from event where subject_id = ${id} and type = 'message.sent'`,
    )
    if (!event) throw new Error('no event')
    await insertDeliveries(db, [{ id: deliveryId, tenantId, endpointId, eventId: event.id }])
    const tried = { tenantId, deliveryId, startedAt: new Date(), durationMs: 12 }
    const again = {
      status: 503,
      error: 'http_503',
      answer: 'busy',
      deliveryStatus: 'pending',
      nextAttemptAt: new Date(),
    } as const
    const done = { status: 204, error: null, answer: '', deliveryStatus: 'delivered', nextAttemptAt: null } as const
    await recordAttempts(db, [{ ...tried, ...again }])
    await recordAttempts(db, [{ ...tried, ...done }])
    expect((await trace(id)).deliveries).toMatchObject([
      {
        id: publicId('dlv', deliveryId),
        endpointId: publicId('whe', endpointId),
        eventType: 'message.sent',
        status: 'delivered',
        attempts: [
          { number: 1, status: 503, error: 'http_503', answer: 'busy' },
          { number: 2, status: 204, error: null },
        ],
      },
    ])
  })

  test('of a received message begins with WhatsApp’s time', async () => {
    const messageId = ids.next('msg')
    const at = new Date(Date.now() - 3_600_000)
    const [person] = await db.query<{ id: never }>(sql`select contact_id as id from chat where id = ${chatId}`)
    await storeInbound(db, { fence: lease, tenantId, instanceId }, [
      {
        messageId,
        eventId: ids.next('evt'),
        chatId,
        senderId: person?.id ?? null,
        whatsappId: randomBytes(8).toString('hex'),
        content: { type: 'text', text: { body: 'hello' } },
        at,
        encHashes: [],
      },
    ])
    expect(await stepsOf(messageId)).toEqual(['received', 'stored'])
    expect((await trace(messageId)).steps[0].at).toBe(at.toISOString())
  })

  test('is not shown to another tenant', async () => {
    const { id } = await accept()
    const foreign = await http.newKey({ tenantId: await http.newTenant() })
    expect(await http.ask('GET', pathOf(id), { key: foreign })).toMatchObject({
      status: 404,
      json: { code: 'not_found' },
    })
    expect((await http.ask('GET', pathOf(ids.next('msg')), { key })).status).toBe(404)
  })
})

// Helpers

const pathOf = (id: MessageId): string => `/api/messages/${publicId('msg', id)}/trace`

async function trace(id: MessageId) {
  const { status, json, text } = await http.ask('GET', pathOf(id), { key })
  expect(status, text).toBe(200)
  return json
}

/** `step attempt code` of each. */
async function stepsOf(id: MessageId): Promise<string[]> {
  const { steps } = await trace(id)
  return steps.map(({ step, attempt, code }: { step: string; attempt: number | null; code: string | null }) =>
    [step, attempt, code].filter((part) => part !== null).join(' '),
  )
}

/** As a session does when it begins. */
async function take(replica: string): Promise<void> {
  lease = await takeLease(db, instanceId)
  const data = { epoch: String(lease.epoch), replica }
  const event = { id: ids.next('evt'), tenantId, type: 'lease.taken', instanceId, subjectId: instanceId, data } as const
  await db.tx((tx) => record(tx, [event]))
}

async function accept(): Promise<{ id: MessageId; whatsappId: string }> {
  const [id, whatsappId] = [ids.next('msg'), `3EB0${randomBytes(9).toString('hex').toUpperCase()}`]
  await acceptBatch(db, [
    {
      messageId: id,
      tenantId,
      instanceId,
      chatId,
      whatsappId,
      content: { type: 'text', text: { body: 'oi' } },
      origin: 'api',
      metadata: null,
      eventId: ids.next('evt'),
      idempotency: null,
    },
  ])
  return { id, whatsappId }
}

async function claim(): Promise<ClaimedHead> {
  const [head] = await claimHeads(db, lease, instanceId, 1)
  if (!head) throw new Error('nothing to claim')
  return head
}

async function settle(head: ClaimedHead, outcome: Outcome): Promise<void> {
  await settleHeads(db, [{ fence: lease, instanceId, head, outcome, eventId: ids.next('evt') }])
}

async function receipt(
  whatsappId: string,
  status: 'delivered' | 'read' | 'played' | 'failed',
  errorCode: string | null = null,
): Promise<void> {
  const item = { tenantId, instanceId, whatsappId, status, at: new Date(), errorCode, eventId: ids.next('evt') }
  await applyReceipts(db, lease, [item])
}
