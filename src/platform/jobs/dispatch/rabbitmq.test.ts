import { randomBytes, randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { Connection } from 'rabbitmq-client'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { eventually } from '../../../../test/support/eventually.js'
import { type RabbitServer, startRabbit } from '../../../../test/support/servers/rabbitmq.js'
import { describeWithService } from '../../../../test/support/services.js'
import { systemClock } from '../../../kernel/clock.js'
import { type Logger, silentLogger } from '../../../kernel/logger.js'
import type { Database } from '../../database/database.js'
import { createRabbitClient } from '../../rabbitmq/rabbit-client.js'
import { bellsContract } from './bells.contract.js'
import { dispatchContract } from './dispatch.contract.js'
import { createRabbitBroker } from './rabbitmq.js'
import { createWakeUpRelay } from './relay.js'

/** Queues of this run alone. */
const NAMESPACE = `test-${randomBytes(4).toString('hex')}`

function brokerAt(url: string, holder: string = randomUUID(), logger: Logger = silentLogger) {
  const client = createRabbitClient({
    ...{ url, name: 'mirante test', clock: systemClock, logger, meanwhile: 'It waits.' },
    look: () => broker.findProblems(),
  })
  const broker = createRabbitBroker({ rabbit: client, namespace: async () => NAMESPACE, holder })
  return { ...broker, dependency: client.dependency }
}

async function feed(url: string, db: Database): Promise<() => Promise<void>> {
  const { link, publisher } = brokerAt(url)
  const relay = createWakeUpRelay({ db, publisher, clock: systemClock, logger: silentLogger, lead: always })
  await link.start()
  await relay.start()
  return async () => {
    await relay.stop()
    await link.stop()
  }
}

const always = (onElected: (term: AbortSignal) => void) => {
  const term = new AbortController()
  return { start: async () => onElected(term.signal), stop: async () => term.abort() }
}

async function open(url: string, holder?: string) {
  const { link, ...broker } = brokerAt(url, holder)
  await link.start()
  return { ...broker, close: () => link.stop() }
}

async function withConnection<Result>(url: string, work: (connection: Connection) => Promise<Result>): Promise<Result> {
  const connection = new Connection({ url: loginTo(url), retryLow: 100 })
  connection.on('error', () => {})
  try {
    return await work(connection)
  } finally {
    await connection.close()
  }
}

const loginTo = (url: string) => (url.includes('@') ? url : url.replace('://', '://guest:guest@'))

const deleteQueues = (url: string) =>
  withConnection(url, async (connection) => {
    for (const name of ['jobs', 'parked']) await connection.queueDelete(`mirante.${NAMESPACE}.${name}`)
  })

describeWithService('rabbitmq', 'wake-ups over RabbitMQ', (url) => {
  afterAll(() => deleteQueues(url))

  dispatchContract({
    reach: 'one worker',
    open: () => open(url),
    feed: (db) => feed(url, db),
    waiting: () =>
      withConnection(url, async (connection) => {
        const message = await connection.basicGet({ queue: `mirante.${NAMESPACE}.jobs`, noAck: true })
        return message ? [message.body] : []
      }),
  })

  bellsContract({
    reach: 'the holder',
    open: (_db, holder) => open(url, holder),
    feed: (db) => feed(url, db),
  })

  it('reports that all is well, and a wake-up that was parked', async () => {
    const broker = await open(url)
    await eventually(async () => (await broker.dependency.check()).status === 'up', 'it is up')
    await withConnection(url, async (connection) => {
      const queue = `mirante.${NAMESPACE}.parked`
      const publisher = connection.createPublisher({ confirm: true })
      await eventually(() => connection.queueDeclare({ queue, passive: true }).then(() => true), 'there is the queue')
      await publisher.send({ routingKey: queue }, { kind: 'fan-out' })
      await publisher.close()
    })
    await eventually(async () => {
      const { status, problems } = await broker.dependency.check()
      return status === 'degraded' && problems[0]?.code === 'parked_wake_ups'
    }, 'it is told')
    await broker.close()
  })
})

describe.skipIf(!existsSync('/usr/lib/rabbitmq/bin/rabbitmq-server'))('wake-ups over a RabbitMQ that fails', () => {
  let server: RabbitServer
  beforeAll(async () => {
    server = await startRabbit()
  })
  afterAll(() => server.stop())

  dispatchContract({
    reach: 'one worker',
    open: () => open(server.url),
    feed: (db) => feed(server.url, db),
    broker: {
      // See `kill`: a queue that was made just now would not survive.
      kill: () => sleep(2_000).then(server.kill),
      restart: () => server.restart(),
      wipe: () => deleteQueues(server.url),
    },
  })

  it('says once that the broker is gone and once that it is back', async () => {
    const lines: string[] = []
    const note = (_category: string, message: string) => void lines.push(message)
    const broker = brokerAt(server.url, randomUUID(), { ...silentLogger, info: note, warn: note })
    await broker.link.start()
    await broker.dispatcher.start()
    await eventually(() => broker.publisher.isReady, 'it is connected')
    // See `kill`: a queue that was made just now would not survive.
    await sleep(2_000)
    await server.kill()
    await eventually(async () => (await broker.dependency.check()).status === 'down', 'it is down')
    expect((await broker.dependency.check()).problems).toMatchObject([{ code: 'unreachable' }])
    await server.restart()
    await eventually(async () => (await broker.dependency.check()).status === 'up', 'it is up')
    expect(lines).toEqual(['RabbitMQ answers', 'RabbitMQ cannot be used; going on without it', 'RabbitMQ answers'])
    await broker.dispatcher.stop()
    await broker.link.stop()
  })

  it('tells of an alarm and of its end', async () => {
    const broker = await open(server.url)
    await eventually(async () => (await broker.dependency.check()).status === 'up', 'it is up')
    await server.alarm(true)
    await eventually(async () => {
      const { status, problems } = await broker.dependency.check()
      return status === 'degraded' && problems.some(({ code }) => code === 'memory_alarm')
    }, 'the alarm is known')
    await expect(broker.publisher.publish([{ to: 'worker', kind: 'fan-out' }])).rejects.toThrow()
    await server.alarm(false)
    await eventually(async () => (await broker.dependency.check()).status === 'up', 'it is over')
    await broker.close()
  })

  it('waits for a broker that stands still for some seconds only, and tells of it', async () => {
    const broker = await open(server.url)
    await eventually(async () => (await broker.dependency.check()).status === 'up', 'it is up')
    process.kill(server.pid, 'SIGSTOP')
    await expect(broker.publisher.publish([{ to: 'worker', kind: 'fan-out' }])).rejects.toThrow('no answer')
    expect((await broker.dependency.check()).problems).toMatchObject([{ code: 'unconfirmed' }])
    process.kill(server.pid, 'SIGCONT')
    await eventually(async () => {
      await broker.publisher.publish([{ to: 'worker', kind: 'fan-out' }])
      return (await broker.dependency.check()).status === 'up'
    }, 'it goes on')
    await broker.close()
  })

  it('tells that the login is refused, without the password', async () => {
    const broker = await open(server.url.replace('guest:guest', 'guest:wrong-password'))
    await eventually(async () => {
      const { status, problems } = await broker.dependency.check()
      expect(JSON.stringify(problems)).not.toContain('wrong-password')
      return status === 'down' && problems.some(({ code }) => code === 'refused')
    }, 'the refusal is known')
    await broker.close()
  })
})
