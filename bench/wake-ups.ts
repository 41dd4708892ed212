/**
 * How long it takes from the commit of a job to its handler, by what carries the wake-up: PostgreSQL, RabbitMQ and BullMQ side
 * by side, one job at a time, in turn. Prints, and judges nothing: `npx tsx bench/wake-ups.ts [jobs]`. Needs the servers of the
 * tests, on their default ports or at TEST_DATABASE_URL, TEST_AMQP_URL and TEST_REDIS_URL.
 */
import { randomBytes, randomUUID } from 'node:crypto'
import pg from 'pg'
import { systemClock } from '../src/kernel/clock.js'
import { silentLogger } from '../src/kernel/logger.js'
import { migrate } from '../src/platform/database/migrate.js'
import { createPostgres } from '../src/platform/database/postgres.js'
import { createJobs } from '../src/platform/jobs/create-jobs.js'
import type { WakeUpBroker } from '../src/platform/jobs/dispatch/broker.js'
import { createBullBroker } from '../src/platform/jobs/dispatch/bullmq.js'
import { createPostgresDispatcher } from '../src/platform/jobs/dispatch/postgres.js'
import { createRabbitBroker } from '../src/platform/jobs/dispatch/rabbitmq.js'
import { createWakeUpRelay } from '../src/platform/jobs/dispatch/relay.js'
import { type Dispatcher, done } from '../src/platform/jobs/jobs.js'
import { createRabbitClient } from '../src/platform/rabbitmq/rabbit-client.js'
import { createIoRedis } from '../src/platform/redis/ioredis.js'
import { createQueueConnections } from '../src/platform/redis/queue-connection.js'
import { buildTenant } from '../test/support/factories.js'

const count = Number(process.argv[2] ?? 500)
const server = process.env.TEST_DATABASE_URL ?? 'postgres://postgres@127.0.0.1:5432/postgres'
const amqpUrl = process.env.TEST_AMQP_URL ?? 'amqp://127.0.0.1:5672'
const redisUrl = process.env.TEST_REDIS_URL ?? 'redis://127.0.0.1:6379/10'
const name = `mirante_bench_${randomBytes(4).toString('hex')}`
const namespace = async (): Promise<string> => name.slice(-8)
const options = { name: 'mirante bench', clock: systemClock, logger: silentLogger, random: Math.random }

await onServer(`create database ${name}`)
const target = new URL(server)
target.pathname = `/${name}`
await migrate(target.toString())
const db = createPostgres({ url: target.toString(), max: 8, applicationName: 'mirante bench', onError: () => {} })
const tenantId = await buildTenant(db)

const brokers: Readonly<Record<string, WakeUpBroker | undefined>> = {
  postgres: undefined,
  rabbitmq: createRabbitBroker({
    ...{ holder: randomUUID(), namespace },
    rabbit: createRabbitClient({ ...options, url: amqpUrl, meanwhile: '' }),
  }),
  bullmq: createBullBroker({
    ...{ ...options, holder: randomUUID(), namespace },
    redis: createIoRedis({ ...options, url: redisUrl }),
    connect: createQueueConnections({ ...options, url: redisUrl }),
  }),
}
for (const [title, broker] of Object.entries(brokers)) {
  const took = (await measure(broker)).toSorted((a, b) => a - b)
  const at = (part: number): string => `${(took[Math.floor((took.length - 1) * part)] ?? 0).toFixed(2)} ms`
  console.log(`${title.padEnd(10)} p50 ${at(0.5)}  p95 ${at(0.95)}  p99 ${at(0.99)}  (${took.length} jobs)`)
}
await db.close()
await onServer(`drop database ${name} with (force)`)

/** From the answer to the commit to the begin of the handler, of each job. */
async function measure(broker: WakeUpBroker | undefined): Promise<number[]> {
  const dispatcher = broker?.dispatcher ?? createPostgresDispatcher(db)
  const term = new AbortController()
  await broker?.link.start()
  const relay =
    broker &&
    createWakeUpRelay({
      ...{ db, publisher: broker.publisher, clock: systemClock, logger: silentLogger },
      lead: (onElected) => ({ start: async () => onElected(term.signal), stop: async () => term.abort() }),
    })
  await relay?.start()
  const jobs = systemWith(dispatcher)
  let begun: (at: number) => void = () => {}
  jobs.work('fan-out', async () => {
    begun(performance.now())
    return done()
  })
  await jobs.runner.start()
  while (broker && !broker.publisher.isReady) await systemClock.sleep(50)
  await systemClock.sleep(1_000)
  const took: number[] = []
  for (let job = 0; job < count; job++) {
    const handled = new Promise<number>((resolve) => {
      begun = resolve
    })
    await db.tx((tx) => jobs.enqueue(tx, { kind: 'fan-out', tenantId, id: randomUUID() }))
    const committedAt = performance.now()
    took.push((await handled) - committedAt)
  }
  await jobs.runner.stop()
  await relay?.stop()
  await broker?.link.stop()
  return took
}

function systemWith(dispatcher: Dispatcher) {
  return createJobs({
    ...{ db, dispatcher, incarnation: randomUUID(), advisoryLocks: false, leadership: { isLeader: () => false } },
    ...{ clock: systemClock, random: Math.random, logger: silentLogger },
  })
}

async function onServer(statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: server })
  await client.connect()
  await client.query(statement)
  await client.end()
}
