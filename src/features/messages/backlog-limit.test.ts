/** How many messages of an instance may wait, over a real database. */
import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js'
import { buildInstance, buildTenant, takeLease } from '../../../test/support/factories.js'
import { systemClock } from '../../kernel/clock.js'
import { createIdGenerator, type InstanceId, type TenantId } from '../../kernel/ids.js'
import { createAddressBook } from '../contacts/address-book.js'
import { createBacklogLimit } from './backlog-limit.js'
import { claimHeads, settleHeads } from './lane-store.js'
import { createMessageQueue, type MessageQueue } from './queue-message.js'

const MOST = 40
const full = { code: 'instance_backlog_full', status: 429, retryAfterSeconds: 5 }
const ids = createIdGenerator()
let database: TestDatabase
let tenantId: TenantId
let instanceId: InstanceId
let now = 0
const clock = { ...systemClock, mono: () => now }

beforeAll(async () => {
  database = await createTestDatabase()
})
afterAll(() => database.drop())
beforeEach(async () => {
  tenantId = await buildTenant(database.db)
  instanceId = await buildInstance(database.db, tenantId)
})

function createQueue(maxBacklog?: number): MessageQueue {
  const { db } = database
  const newWhatsappId = () => `3EB0${randomBytes(9).toString('hex').toUpperCase()}`
  const addressBook = createAddressBook({ db, ids })
  return createMessageQueue({ db, ids, clock, addressBook, newWhatsappId, maxBacklog })
}

const send = (queue: MessageQueue, chat: number, to = instanceId, key?: string) =>
  queue.queue({
    ...{ tenantId, instanceId: to, to: `+551198765${String(1_000 + chat)}` },
    content: { type: 'text', text: { body: 'oi' } },
    ...{ origin: 'api' as const, metadata: null },
    idempotency: key === undefined ? null : { route: 'send', key, fingerprint: Buffer.from(key) },
  })

const sendMany = async (queue: MessageQueue, count: number) => {
  for (let n = 0; n < count; n++) await send(queue, n % 3)
}

test('beyond it a caller is told to come back; another instance takes messages; when some have left there is room', async () => {
  const queue = createQueue(MOST)
  await sendMany(queue, MOST)
  await expect(send(queue, 0)).rejects.toMatchObject(full)
  await send(queue, 0, await buildInstance(database.db, tenantId))
  const { db } = database
  const lease = await takeLease(db, instanceId)
  const [head] = await claimHeads(db, lease, instanceId, 1)
  if (!head) throw new Error('no head')
  const outcome = { to: 'sent' as const, at: new Date() }
  await settleHeads(db, [{ fence: lease, instanceId, head, outcome, eventId: ids.next('evt') }])
  await expect(send(queue, 0)).rejects.toMatchObject(full)
  now += 1_000
  await send(queue, 0)
  await expect(send(queue, 0)).rejects.toMatchObject(full)
})

test('what was accepted is answered as it was then, however full it is', async () => {
  const queue = createQueue(MOST)
  const first = await send(queue, 0, instanceId, 'the answer was lost')
  await sendMany(queue, MOST - 1)
  await expect(send(queue, 0, instanceId, 'another')).rejects.toMatchObject(full)
  expect(await send(queue, 0, instanceId, 'the answer was lost')).toEqual({ ...first, replayed: true })
})

test('what waits in lanes whose head is in flight counts too', async () => {
  await sendMany(createQueue(), MOST)
  const lease = await takeLease(database.db, instanceId)
  expect(await claimHeads(database.db, lease, instanceId, 8)).toHaveLength(3)
  const limit = createBacklogLimit({ db: database.db, clock, most: MOST })
  // Some are let in unseen: a twentieth of the limit.
  await limit.admit(tenantId, instanceId)
  await limit.admit(tenantId, instanceId)
  await expect(limit.admit(tenantId, instanceId)).rejects.toMatchObject(full)
})

test('another process with the same limit keeps it as well, but for a twentieth', async () => {
  const [one, other] = [createQueue(MOST), createQueue(MOST)]
  let accepted = 0
  for (let n = 0; n < 2 * MOST; n++) {
    for (const queue of [one, other]) {
      await send(queue, n % 3).then(
        () => {
          accepted += 1
        },
        (error: unknown) => expect(error).toMatchObject(full),
      )
    }
  }
  expect(accepted).toBeGreaterThanOrEqual(MOST)
  expect(accepted).toBeLessThanOrEqual(MOST + 4)
})
