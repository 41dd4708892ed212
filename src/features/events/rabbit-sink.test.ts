import { randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { type AsyncMessage, Connection } from 'rabbitmq-client'
import sql from 'sql-template-tag'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js'
import { eventually } from '../../../test/support/eventually.js'
import { buildTenant } from '../../../test/support/factories.js'
import { type RabbitServer, startRabbit } from '../../../test/support/servers/rabbitmq.js'
import { describeWithService } from '../../../test/support/services.js'
import { systemClock } from '../../kernel/clock.js'
import { createIdGenerator, publicId, type TenantId } from '../../kernel/ids.js'
import { silentLogger } from '../../kernel/logger.js'
import type { Service } from '../../kernel/service.js'
import { FencedError } from '../../platform/leases/fence.js'
import { createLeadership } from '../../platform/leases/leader.js'
import { type Incarnation, leaseTerms, type Resource } from '../../platform/leases/lease.js'
import { createLeaseStore } from '../../platform/leases/lease-store.js'
import { createRabbitClient } from '../../platform/rabbitmq/rabbit-client.js'
import type { EventType } from './event.js'
import { createEventView, describeAsRecorded } from './event-view.js'
import { createRabbitSink, exchangeOf } from './rabbit-sink.js'
import { record } from './record.js'
import { beginSink, findBehind, moveSink } from './sink-store.js'

const ids = createIdGenerator()
const subjects = ['message', 'media', 'instance', 'call', 'contact', 'group', 'job', 'webhook'] as const
const show = createEventView({
  describers: Object.fromEntries(subjects.map((subject) => [subject, describeAsRecorded])) as Record<
    (typeof subjects)[number],
    typeof describeAsRecorded
  >,
})

let test: TestDatabase
let tenantId: TenantId
const running: Service[] = []

beforeAll(async () => {
  test = await createTestDatabase()
})
beforeEach(async () => {
  tenantId = await buildTenant(test.db)
})
afterEach(async () => {
  await Promise.all(running.splice(0).map((service) => service.stop()))
})
afterAll(() => test.drop())

/** Starts what a process with the role scheduler has of it. */
async function startSink(url: string): Promise<Service> {
  const common = { clock: systemClock, logger: silentLogger }
  const rabbit = createRabbitClient({ ...common, url, name: 'mirante test', meanwhile: 'They wait.' })
  const sink = createRabbitSink({
    ...{ ...common, db: test.db, rabbit, show },
    lead: (onElected) =>
      createLeadership({
        ...{ ...common, random: Math.random, resource: 'relay:events' as Resource, onElected },
        store: createLeaseStore(test.db, { advisoryLocks: false }),
        holder: randomUUID() as Incarnation,
        terms: leaseTerms(1_000),
      }),
  })
  await rabbit.start()
  await sink.start()
  const both = {
    start: async () => {},
    async stop() {
      await sink.stop()
      await rabbit.stop()
    },
  }
  running.push(both)
  return both
}

/** Somebody who consumes all events of the tenant, with a durable queue of its own. */
async function consume(url: string, tenant: TenantId): Promise<AsyncMessage[]> {
  const connection = new Connection({ url: loginTo(url), retryHigh: 1_000 })
  connection.on('error', () => {})
  const got: AsyncMessage[] = []
  const exchange = exchangeOf(tenant)
  const queue = `${exchange}.test`
  const consumer = connection.createConsumer(
    {
      queue,
      queueOptions: { durable: true, arguments: { 'x-queue-type': 'quorum' } },
      exchanges: [{ exchange, type: 'topic', durable: true }],
      queueBindings: [{ exchange, queue, routingKey: '#' }],
    },
    (message) => void got.push(message),
  )
  consumer.on('error', () => {})
  await new Promise<void>((resolve) => consumer.on('ready', resolve))
  running.push({
    start: async () => {},
    async stop() {
      await consumer.close()
      await connection.queueDelete(queue)
      await connection.exchangeDelete({ exchange })
      await connection.close()
    },
  })
  return got
}

const loginTo = (url: string): string => (url.includes('@') ? url : url.replace('://', '://guest:guest@'))

const recordEvents = (count: number, type: EventType = 'message.sent', tenant = tenantId) =>
  test.db.tx((tx) =>
    record(
      tx,
      Array.from({ length: count }, (_, index) => ({
        ...{ id: ids.next('evt'), tenantId: tenant, type, instanceId: null, subjectId: null, data: { index } },
      })),
    ),
  )

const sequences = (messages: readonly AsyncMessage[]): number[] =>
  messages.map(({ headers }) => Number(headers?.['mirante-sequence']))

/** In the order in which each came first. */
const firstOfEach = (numbers: readonly number[]): number[] => [...new Set(numbers)]

const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1)

describeWithService('rabbitmq', 'events at RabbitMQ', (url) => {
  it('come with the id and the body of a webhook, under their type, and without those of others', async () => {
    await startSink(url)
    const [other, got] = [await buildTenant(test.db), await consume(url, tenantId)]
    await recordEvents(1)
    await recordEvents(1, 'message.queued')
    await recordEvents(1, 'message.sent', other)
    await recordEvents(1, 'contact.updated')
    await eventually(() => got.length >= 2, 'they have come')
    expect(got.map(({ routingKey }) => routingKey)).toEqual(['message.sent', 'contact.updated'])
    const [first] = got
    expect(first).toMatchObject({
      body: { type: 'message.sent', timestamp: expect.any(String), data: { index: 0 } },
      contentType: 'application/json',
      deliveryMode: 2,
      headers: { 'mirante-sequence': '1' },
    })
    expect(first?.headers?.['webhook-id']).toMatch(/^evt_/)
    expect(first?.messageId).toBe(first?.headers?.['webhook-id'])
  })

  it('come in sequence and whole, however many', async () => {
    await startSink(url)
    const got = await consume(url, tenantId)
    for (let batch = 0; batch < 5; batch++) await recordEvents(150)
    await eventually(() => new Set(sequences(got)).size === 750, 'all have come')
    expect(firstOfEach(sequences(got))).toEqual(upTo(750))
  })

  it('go on where they were when another process takes over', async () => {
    const first = await startSink(url)
    const got = await consume(url, tenantId)
    await recordEvents(10)
    await eventually(() => got.length >= 10, 'the first ten have come')
    await first.stop()
    await recordEvents(10)
    await startSink(url)
    await eventually(() => new Set(sequences(got)).size === 20, 'the others have come')
    expect(firstOfEach(sequences(got))).toEqual(upTo(20))
  })

  it('are sent again to an exchange that was deleted and declared anew', async () => {
    await startSink(url)
    const got = await consume(url, tenantId)
    await recordEvents(1)
    await eventually(() => got.length === 1, 'it has come')
    const connection = new Connection({ url: loginTo(url) })
    await connection.exchangeDelete({ exchange: exchangeOf(tenantId) })
    await connection.close()
    await recordEvents(1)
    const again = await consume(url, tenantId)
    await recordEvents(1)
    await eventually(
      () => [...got, ...again].some(({ headers }) => headers?.['mirante-sequence'] === '3'),
      'it goes on',
    )
  })
})

describe.skipIf(!existsSync('/usr/lib/rabbitmq/bin/rabbitmq-server'))('events at a RabbitMQ that fails', () => {
  let server: RabbitServer
  beforeAll(async () => {
    server = await startRabbit()
  })
  afterAll(() => server.stop())

  it('wait while it is away, and all follow, in sequence', async () => {
    await startSink(server.url)
    const got = await consume(server.url, tenantId)
    await recordEvents(50)
    await eventually(() => got.length >= 50, 'the first have come')
    // See `kill`: a queue that was made just now would not survive.
    await sleep(2_000)
    await server.kill()
    for (let batch = 0; batch < 10; batch++) await recordEvents(50)
    await server.restart()
    await recordEvents(50)
    await eventually(() => new Set(sequences(got)).size === 600, 'all have come')
    expect(firstOfEach(sequences(got))).toEqual(upTo(600))
  })

  it('are not overtaken for long where a queue refuses them', async () => {
    await startSink(server.url)
    const exchange = exchangeOf(tenantId)
    const connection = new Connection({ url: server.url })
    connection.on('error', () => {})
    const queue = `${exchange}.small`
    await connection.exchangeDeclare({ exchange, type: 'topic', durable: true })
    await connection.queueDeclare({
      queue,
      durable: true,
      arguments: { 'x-max-length': 5, 'x-overflow': 'reject-publish' },
    })
    await connection.queueBind({ exchange, queue, routingKey: '#' })
    await recordEvents(40)
    const got: number[] = []
    await eventually(async () => {
      const message = await connection.basicGet({ queue, noAck: true })
      if (message) got.push(Number(message.headers?.['mirante-sequence']))
      return new Set(got).size === 40
    }, 'all have come')
    await connection.close()
  })
})

it('begins with what is recorded from then on, and with the first event of a tenant that had none', async () => {
  const fresh = await createTestDatabase()
  const [old, young] = [await buildTenant(fresh.db), await buildTenant(fresh.db)]
  const event = (tenant: TenantId) =>
    fresh.db.tx((tx) =>
      record(tx, [
        { id: ids.next('evt'), tenantId: tenant, type: 'message.sent', instanceId: null, subjectId: null, data: {} },
      ]),
    )
  await event(old)
  await event(old)
  await beginSink(fresh.db)
  expect(await findBehind(fresh.db, { tenants: 'all', limit: 10 })).toEqual([])
  await event(old)
  await event(young)
  await beginSink(fresh.db)
  const behind = await findBehind(fresh.db, { tenants: 'all', limit: 10 })
  expect(new Map(behind.map(({ tenantId: tenant, after }) => [tenant, after]))).toEqual(
    new Map([
      [old, 2n],
      [young, 0n],
    ]),
  )
  // The broker was away for longer than events are kept.
  await fresh.db.execute(sql`update event_counter set forgotten_seq = last_seq where tenant_id = ${young}`)
  expect(await findBehind(fresh.db, { tenants: [young], limit: 10 })).toEqual([])
  await event(young)
  expect(await findBehind(fresh.db, { tenants: [young], limit: 10 })).toEqual([{ tenantId: young, after: 1n }])
  await fresh.drop()
})

it('moves no cursor for a relay that was succeeded', async () => {
  const position = { tenantId, after: 5n }
  const stale = { resource: 'relay:events' as Resource, epoch: -1n, token: randomUUID() }
  await expect(moveSink(test.db, stale, [position])).rejects.toThrow(FencedError)
  await recordEvents(1)
  expect(await findBehind(test.db, { tenants: [tenantId], limit: 10 })).toEqual([{ tenantId, after: 0n }])
})

it('names the exchange by the tenant', () => {
  expect(exchangeOf(tenantId)).toBe(`mirante.events.${publicId('ten', tenantId)}`)
})
