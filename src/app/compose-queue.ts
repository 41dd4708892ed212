/** What carries wake-ups: PostgreSQL alone, or the broker that QUEUE_URL names and a relay from the one to the other. */
import type { ShowEvents } from '../features/events/event-view.js'
import { createRabbitSink } from '../features/events/rabbit-sink.js'
import type { Clock } from '../kernel/clock.js'
import type { Dependency } from '../kernel/dependency.js'
import type { Logger } from '../kernel/logger.js'
import type { Random } from '../kernel/random.js'
import type { Service } from '../kernel/service.js'
import type { Database } from '../platform/database/database.js'
import type { InstanceBells } from '../platform/jobs/bells.js'
import type { WakeUpBroker } from '../platform/jobs/dispatch/broker.js'
import { createBullBroker } from '../platform/jobs/dispatch/bullmq.js'
import { createPostgresDispatcher } from '../platform/jobs/dispatch/postgres.js'
import { createPostgresBells } from '../platform/jobs/dispatch/postgres-bells.js'
import { createRabbitBroker } from '../platform/jobs/dispatch/rabbitmq.js'
import { createWakeUpRelay } from '../platform/jobs/dispatch/relay.js'
import { readNamespace } from '../platform/jobs/dispatch/relay-store.js'
import type { Dispatcher } from '../platform/jobs/jobs.js'
import { createLeadership, type LeadershipOptions } from '../platform/leases/leader.js'
import type { Resource } from '../platform/leases/lease.js'
import { createRabbitClient } from '../platform/rabbitmq/rabbit-client.js'
import { createIoRedis } from '../platform/redis/ioredis.js'
import { createQueueConnections } from '../platform/redis/queue-connection.js'
import { createRedisDependency } from '../platform/redis/redis-dependency.js'
import type { Config } from './config.js'

export interface QueueParts {
  readonly db: Database
  readonly leases: Pick<LeadershipOptions, 'store' | 'holder' | 'terms'>
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  /** Of this process, for lists of connections. */
  readonly name: string
}

export interface Queue {
  /** Started before, and stopped after, everything that is woken. */
  readonly link: Service
  readonly dispatcher: Dispatcher
  readonly bells: InstanceBells
  /** Run by the role scheduler: one of them works. */
  readonly relays: readonly Service[]
  readonly dependencies: readonly Dependency[]
}

const MEANWHILE = 'Jobs and messages are found by looking at the tables every few seconds; none is lost.'
const nothing: Service = { start: async () => {}, stop: async () => {} }

export function composeQueue({ queueUrl, redisUrl }: Config, parts: QueueParts): Queue {
  const { db } = parts
  if (!queueUrl) {
    const direct = { dispatcher: createPostgresDispatcher(db), bells: createPostgresBells(db) }
    return { ...direct, link: nothing, relays: [], dependencies: [] }
  }
  const { broker, dependency } = queueUrl.startsWith('amqp') ? rabbit(queueUrl, parts) : bull(queueUrl, parts)
  const { link, dispatcher, bells } = broker
  // The one Redis is told of once.
  const dependencies = queueUrl === redisUrl ? [] : [dependency]
  return { link, dispatcher, bells, relays: [relayTo(broker, parts)], dependencies }
}

interface Brokerage {
  readonly broker: WakeUpBroker
  readonly dependency: Dependency
}

function bull(url: string, { db, leases, clock, random, logger, name }: QueueParts): Brokerage {
  const options = { url, name: `${name} queue`, random, logger }
  const redis = createIoRedis(options)
  const broker = createBullBroker({
    ...{ redis, clock, logger, namespace: () => readNamespace(db), holder: leases.holder },
    connect: createQueueConnections(options),
  })
  return { broker, dependency: createRedisDependency({ redis, clock, keepsJobs: true }) }
}

function rabbit(url: string, parts: QueueParts): Brokerage {
  const { db, leases, clock, logger, name } = parts
  const client = createRabbitClient({
    ...{ url, name, clock, logger, meanwhile: MEANWHILE },
    look: () => broker.findProblems(),
  })
  const broker = createRabbitBroker({ rabbit: client, namespace: () => readNamespace(db), holder: leases.holder })
  return { broker, dependency: client.dependency }
}

function relayTo({ publisher }: WakeUpBroker, { db, leases, clock, random, logger }: QueueParts): Service {
  const resource = 'relay:wake-ups' as Resource
  return createWakeUpRelay({
    ...{ db, publisher, clock, logger },
    lead: (onElected) =>
      createLeadership({ ...leases, resource, clock, random, logger, onElected: ({ signal }) => onElected(signal) }),
  })
}

/** Nothing where EVENTS_AMQP_URL is not set. */
export function composeEventSink(
  { eventsAmqpUrl: url, queueUrl }: Config,
  parts: QueueParts & { readonly show: ShowEvents },
): Pick<Queue, 'link' | 'relays' | 'dependencies'> {
  if (!url) return { link: nothing, relays: [], dependencies: [] }
  const { db, leases, clock, random, logger, name, show } = parts
  const meanwhile = 'Events wait in PostgreSQL, for as long as events are kept, and follow when it is back.'
  const rabbit = createRabbitClient({ url, name: `${name} events`, clock, logger, meanwhile })
  const resource = 'relay:events' as Resource
  const sink = createRabbitSink({
    ...{ db, rabbit, show, clock, logger },
    lead: (onElected) => createLeadership({ ...leases, resource, clock, random, logger, onElected }),
  })
  // One RabbitMQ that does both is told of once.
  return { link: rabbit, relays: [sink], dependencies: url === queueUrl ? [] : [rabbit.dependency] }
}
