import sql from 'sql-template-tag'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { until } from '../../../test/support/gateway.js'
import { type Connected, createGatewayWorld, type GatewayWorld } from '../../../test/support/gateway-world.js'
import { systemClock } from '../../kernel/clock.js'
import { createIdGenerator, publicId } from '../../kernel/ids.js'
import { silentLogger } from '../../kernel/logger.js'
import type { Call } from '../../platform/whatsapp/whatsapp.js'
import { createAddressBook } from '../contacts/address-book.js'
import { listEvents } from '../events/event-store.js'
import { createEventView, describeAsRecorded, type EventView } from '../events/event-view.js'
import { createCallReceiver, describeCallEvents } from './receive-calls.js'

let world: GatewayWorld
let number: Connected

beforeAll(async () => {
  world = await createGatewayWorld()
})
beforeEach(async () => {
  await world.begin()
  const { db } = world
  const ids = createIdGenerator()
  const receiver = createCallReceiver({
    db,
    ids,
    addressBook: createAddressBook({ db, ids }),
    clock: systemClock,
    random: Math.random,
    logger: silentLogger,
    rejectTimeoutMs: 1_000,
  })
  number = await world.connected({ attachments: [receiver] })
})
afterEach(() => world.end())
afterAll(() => world.drop())

const call = (overrides: Partial<Call> = {}): Call => ({
  callId: 'CALL1',
  from: { waId: '5511912345678', lid: '42' },
  video: false,
  at: new Date('2026-11-21T10:00:00Z'),
  offline: false,
  ...overrides,
})

const ring = (overrides?: Partial<Call>): void => number.connection.emit({ type: 'call', call: call(overrides) })

async function calls(): Promise<readonly EventView[]> {
  const { db, tenantId } = world
  const some = {
    message: describeAsRecorded,
    media: describeAsRecorded,
    instance: describeAsRecorded,
    contact: describeAsRecorded,
  }
  const rest = { ...some, group: describeAsRecorded }
  const show = createEventView({
    describers: {
      ...rest,
      call: (tenant, events) => describeCallEvents(db, tenant, events),
      job: describeAsRecorded,
      webhook: describeAsRecorded,
    },
  })
  const stored = await listEvents(db, tenantId, { after: 0n, types: ['call.received'], limit: 100 })
  return show(tenantId, stored)
}

const told = async (count: number): Promise<readonly EventView[]> =>
  until(async () => {
    const all = await calls()
    return all.length >= count && all
  }, `${count} calls`) as Promise<readonly EventView[]>

test('a call is told of with who called, and left to ring', async () => {
  ring({ video: true })
  const [event] = await told(1)
  expect(event).toMatchObject({
    type: 'call.received',
    data: {
      instanceId: publicId('ins', number.id),
      callId: 'CALL1',
      contact: { id: expect.stringMatching(/^con_/), phone: '+5511912345678', lid: '42' },
      video: true,
      groupJid: null,
      at: '2026-11-21T10:00:00.000Z',
      offline: false,
      rejected: false,
    },
  })
  expect(number.connection.callsRejected).toEqual([])
})

test('is rejected where the owner wants that, from the next call on', async () => {
  await number.gateway.change.set(world.tenantId, number.id, { rejectCalls: true })
  ring()
  expect((await told(1))[0]?.data).toMatchObject({ rejected: true })
  expect(number.connection.callsRejected).toEqual(['CALL1'])
  await number.gateway.change.set(world.tenantId, number.id, { rejectCalls: false })
  ring({ callId: 'CALL2' })
  expect((await told(2))[1]?.data).toMatchObject({ callId: 'CALL2', rejected: false })
  expect(number.connection.callsRejected).toEqual(['CALL1'])
})

test('that rang while we were away is told, and not rejected', async () => {
  await number.gateway.change.set(world.tenantId, number.id, { rejectCalls: true })
  ring({ offline: true })
  expect((await told(1))[0]?.data).toMatchObject({ offline: true, rejected: false })
  expect(number.connection.callsRejected).toEqual([])
})

test('offered again on the next connection is told once', async () => {
  ring()
  await told(1)
  number.connection.emit({ type: 'close', reason: 'CONNECTION_LOST', detail: 'cut' })
  const next = await number.gateway.whatsapp.connection(2)
  next.emit({ type: 'call', call: call({ offline: true }) })
  next.emit({ type: 'call', call: call({ callId: 'CALL2' }) })
  expect((await told(2)).map(({ data }) => (data as { callId: string }).callId)).toEqual(['CALL1', 'CALL2'])
})

test('whose rejection WhatsApp does not answer is told as not rejected, and the number goes on', async () => {
  await number.gateway.change.set(world.tenantId, number.id, { rejectCalls: true })
  number.connection.hang()
  ring()
  expect((await told(1))[0]?.data).toMatchObject({ rejected: false })
  const [row] = await world.db.query<{ status: string }>(sql`
    select connection_status as status from instance where id = ${number.id}`)
  expect(row?.status).toBe('CONNECTED')
})
