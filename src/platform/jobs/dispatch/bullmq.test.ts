import { randomBytes, randomUUID } from 'node:crypto'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, it } from 'vitest'
import { eventually } from '../../../../test/support/eventually.js'
import {
  type RedisServer,
  startRedis,
  startRedisCluster,
  startRedisWithSentinels,
} from '../../../../test/support/servers/redis.js'
import { describeWithService } from '../../../../test/support/services.js'
import { systemClock } from '../../../kernel/clock.js'
import { silentLogger } from '../../../kernel/logger.js'
import type { Database } from '../../database/database.js'
import { createIoRedis } from '../../redis/ioredis.js'
import { createQueueConnections } from '../../redis/queue-connection.js'
import { bellsContract } from './bells.contract.js'
import { createBullBroker } from './bullmq.js'
import { dispatchContract } from './dispatch.contract.js'
import { createWakeUpRelay } from './relay.js'

const NAMESPACE = `test-${randomBytes(4).toString('hex')}`

function brokerAt(url: string, holder: string = randomUUID()) {
  const options = { url, name: 'mirante test', logger: silentLogger, random: Math.random }
  return createBullBroker({
    ...{ holder, namespace: async () => NAMESPACE, clock: systemClock, logger: silentLogger },
    redis: createIoRedis(options),
    connect: createQueueConnections(options),
  })
}

async function feed(url: string, db: Database): Promise<() => Promise<void>> {
  const { link, publisher } = brokerAt(url)
  const term = new AbortController()
  const relay = createWakeUpRelay({
    ...{ db, publisher, clock: systemClock, logger: silentLogger },
    lead: (onElected) => ({ start: async () => onElected(term.signal), stop: async () => term.abort() }),
  })
  await link.start()
  await relay.start()
  return async () => {
    await relay.stop()
    await link.stop()
  }
}

async function open(url: string, holder?: string) {
  const { link, ...broker } = brokerAt(url, holder)
  await link.start()
  return { ...broker, close: () => link.stop() }
}

describeWithService('redis', 'wake-ups over BullMQ', (service) => {
  const url = `${service.replace(/\/\d*$/, '')}/9`
  let redis: Redis
  beforeAll(() => {
    redis = new Redis(url)
  })
  afterAll(async () => {
    const keys = await redis.keys(`*mirante:${NAMESPACE}*`)
    if (keys.length > 0) await redis.del(keys)
    redis.disconnect()
  })

  dispatchContract({
    reach: 'one worker',
    open: () => open(url),
    feed: (db) => feed(url, db),
    async waiting() {
      const keys = await redis.keys(`{mirante:${NAMESPACE}}:wake-ups:[0-9]*`)
      const bodies = await Promise.all(keys.map((key) => redis.hget(key, 'data')))
      return bodies.flatMap((body) => (body === null ? [] : [JSON.parse(body)]))
    },
  })

  bellsContract({
    reach: 'the holder',
    open: (_db, holder) => open(url, holder),
    feed: (db) => feed(url, db),
  })
})

describe('wake-ups over a Redis that fails', () => {
  let server: RedisServer
  beforeAll(async () => {
    server = await startRedis()
  })
  afterAll(() => server.stop())

  dispatchContract({
    reach: 'one worker',
    open: () => open(server.url),
    feed: (db) => feed(server.url, db),
    broker: { kill: () => server.kill(), restart: () => server.restart(), wipe: () => server.flush() },
  })

  it('starts and stops without a Redis', async () => {
    const broker = await open('redis://127.0.0.1:1')
    await broker.dispatcher.start()
    await broker.bells.start()
    await broker.bells.stop()
    await broker.dispatcher.stop()
    await broker.close()
  })
})

describe.each([
  ['sentinels', startRedisWithSentinels],
  ['a cluster', startRedisCluster],
])('wake-ups over Redis with %s', (_name, start) => {
  let server: { readonly url: string; stop(): Promise<void> }
  beforeAll(async () => {
    server = await start()
  })
  afterAll(() => server.stop())

  it('reach a worker and a holder', async () => {
    const holder = randomUUID()
    const broker = await open(server.url, holder)
    const heard: string[] = []
    broker.dispatcher.onWakeUp((kind) => heard.push(kind))
    broker.bells.onRing(
      (id) => heard.push(id),
      () => {},
    )
    await broker.dispatcher.start()
    await broker.bells.start()
    await eventually(() => broker.publisher.isReady && heard.includes('fetch-media'), 'it is connected')
    heard.length = 0
    const id = randomUUID() as never
    await eventually(async () => {
      await broker.publisher.publish([
        { to: 'worker', kind: 'fan-out' },
        { to: 'holder', holder, instances: [id] },
      ])
      return heard.includes('fan-out') && heard.includes(id)
    }, 'both were heard')
    await broker.bells.stop()
    await broker.dispatcher.stop()
    await broker.close()
  })
})
