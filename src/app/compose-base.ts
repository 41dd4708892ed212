/** What every role needs: database, identity, leases, keys, events, jobs. */
import { createAddressBook } from '../features/contacts/address-book.js'
import { describeContactEvents } from '../features/contacts/contact-view.js'
import { createEventView, describeAsRecorded } from '../features/events/event-view.js'
import { describeCallEvents } from '../features/instances/receive-calls.js'
import { fetchMediaPolicy } from '../features/messages/fetch-media.js'
import { describeMediaEvents } from '../features/messages/media-view.js'
import { describeMessageEvents } from '../features/messages/message-view.js'
import { createDependencyChecks } from '../features/ops/dependency-checks.js'
import { createDataKeys, kekOf } from '../features/tenants/data-keys.js'
import { createDeadLetterRecorder, describeJobEvents } from '../features/webhooks/dead-letters.js'
import { fanOutPolicy } from '../features/webhooks/fan-out.js'
import { deliverWebhookPolicy } from '../features/webhooks/retry-schedule.js'
import { describeWebhookEvents } from '../features/webhooks/webhook-view.js'
import { systemClock } from '../kernel/clock.js'
import type { Dependency } from '../kernel/dependency.js'
import { createIdGenerator } from '../kernel/ids.js'
import { errorText, type Logger } from '../kernel/logger.js'
import { type Service, serviceGroup } from '../kernel/service.js'
import type { Database } from '../platform/database/database.js'
import { databaseHosts } from '../platform/database/database-url.js'
import { codeVersion } from '../platform/database/migrate.js'
import { createPostgres } from '../platform/database/postgres.js'
import { createPostgresDependency } from '../platform/database/postgres-dependency.js'
import { createReplica } from '../platform/database/postgres-replica.js'
import { createReplicaDependency } from '../platform/database/postgres-replica-dependency.js'
import { createEgress } from '../platform/egress/http-client.js'
import { createJobs } from '../platform/jobs/create-jobs.js'
import { createIncarnation } from '../platform/leases/incarnation.js'
import { createLeadership } from '../platform/leases/leader.js'
import { leaseTerms } from '../platform/leases/lease.js'
import { createLeaseStore } from '../platform/leases/lease-store.js'
import { createIoRedis } from '../platform/redis/ioredis.js'
import { createRedisDependency } from '../platform/redis/redis-dependency.js'
import { createBaileysProvider } from '../platform/whatsapp/baileys/baileys.js'
import type { ComposeOptions, Leases } from './compose-options.js'
import { composeEventSink, composeQueue } from './compose-queue.js'
import { composeStorage } from './compose-storage.js'
import type { Config } from './config.js'
import { POOL_SIZE } from './connections.js'
import { version } from './version.js'

/** Behind a transaction pooler locks of sessions mean nothing; Mirante asks for a direct connection so far. */
const ADVISORY_LOCKS = true

export type Base = ReturnType<typeof composeBase>

export function composeBase(config: Config, { roles, slot, logger, overrides = {} }: ComposeOptions) {
  const clock = systemClock
  const random = Math.random
  const ids = createIdGenerator()
  const role = roles.size === 1 ? ([...roles][0] ?? 'web') : roles.has('web') ? 'web' : 'worker'
  const db = createPostgres({
    url: config.databaseUrl,
    max: POOL_SIZE,
    applicationName: `mirante ${role} ${slot}`,
    onError: (error) => logger.warn('INFO', 'a database connection broke', { reason: errorText(error) }),
  })
  const redis = config.redisUrl
    ? createIoRedis({ url: config.redisUrl, name: `mirante ${role} ${slot}`, logger, random })
    : undefined
  const replica = config.databaseReplicaUrl
    ? composeReplica(db, config.databaseReplicaUrl, {
        ...{ role, slot, logger },
        maxLagMs: config.databaseReplicaMaxLagMs,
      })
    : undefined
  const dataKeys = createDataKeys({ db, kek: kekOf(config.encryptionKey) })
  const incarnation = createIncarnation({
    db,
    replica: config.replicaName,
    role,
    slot,
    version,
    clock,
    random,
    logger,
    advisoryLocks: ADVISORY_LOCKS,
  })
  const realLeases: Leases = {
    store: createLeaseStore(db, { advisoryLocks: ADVISORY_LOCKS }),
    holder: incarnation.id,
    terms: leaseTerms(config.leaseTtlMs),
  }
  const leases = overrides.leases?.(realLeases) ?? realLeases
  const leadership = createLeadership({ ...leases, clock, random, logger })
  const real = createBaileysProvider({
    clock,
    random,
    ...(config.whatsappWebUrl && { webSocketUrl: config.whatsappWebUrl }),
    ...(config.whatsappRootKey && { rootPublicKeyHex: config.whatsappRootKey }),
    ...(config.whatsappCaFile && { caFile: config.whatsappCaFile }),
    ...(overrides.crashPoint && { hooks: { crashPoint: overrides.crashPoint } }),
  })
  const show = createEventView({
    describers: {
      message: (tenantId, events) => describeMessageEvents(db, tenantId, events),
      media: (tenantId, events) => describeMediaEvents(db, tenantId, events),
      instance: describeAsRecorded,
      call: (tenantId, events) => describeCallEvents(db, tenantId, events),
      group: describeAsRecorded,
      contact: (tenantId, events) => describeContactEvents(db, tenantId, events),
      job: describeJobEvents,
      webhook: describeWebhookEvents,
    },
  })
  const parts = { db, leases, clock, random, logger, name: `mirante ${role} ${slot}` }
  const queue = composeQueue(config, parts)
  const sink = composeEventSink(config, { ...parts, show })
  const jobs = createJobs({
    db,
    dispatcher: queue.dispatcher,
    incarnation: incarnation.id,
    advisoryLocks: ADVISORY_LOCKS,
    leadership,
    clock,
    random,
    logger,
    policies: { 'fan-out': fanOutPolicy, 'deliver-webhook': deliverWebhookPolicy, 'fetch-media': fetchMediaPolicy },
    onDead: createDeadLetterRecorder({ ids }),
  })
  const egress = createEgress({ allow: config.egressAllow ?? [], clock })
  const media = composeStorage(config, { clock, random })
  /** The servers that this process uses, each told of by its adapter. */
  const dependencies: readonly Dependency[] = [
    createPostgresDependency({ db, hosts: databaseHosts(config.databaseUrl).length, clock, wantedSchema: codeVersion }),
    ...(redis ? [createRedisDependency({ redis, clock, keepsJobs: config.queueUrl === config.redisUrl })] : []),
    ...queue.dependencies,
    ...sink.dependencies,
    media.dependency,
    ...(replica ? [replica.dependency] : []),
  ]
  const database: Service = {
    start: async () => {},
    stop: async () => void (await Promise.all([db.close(), replica?.close()])),
  }
  return {
    clock,
    random,
    ids,
    logger,
    db,
    replica,
    database,
    redis,
    dependencyChecks: createDependencyChecks({ dependencies, clock }),
    dataKeys,
    incarnation,
    leases,
    leadership,
    brokers: serviceGroup([queue.link, sink.link]),
    bells: queue.bells,
    relays: [...queue.relays, ...sink.relays],
    jobs,
    show,
    overrides,
    role,
    version,
    provider: overrides.provider?.(real) ?? real,
    addressBook: createAddressBook({ db, ids }),
    mediaStorage: media.storage,
    maxMediaBytes: config.mediaMaxMb * 1024 * 1024,
    egress: overrides.egress?.(egress) ?? egress,
    /** What is fetched is no secret, and much of it has no https. */
    mediaEgress: createEgress({ allow: config.egressAllow ?? [], clock, allowHttp: true }),
    life: { started: false, draining: false },
  }
}

interface ReplicaParts {
  readonly role: string
  readonly slot: number
  readonly logger: Logger
  readonly maxLagMs: number
}

function composeReplica(primary: Database, url: string, { role, slot, logger, maxLagMs }: ReplicaParts) {
  const clock = systemClock
  const database = createPostgres({
    url,
    max: POOL_SIZE,
    applicationName: `mirante ${role} ${slot} reads`,
    onError: (error) => logger.warn('INFO', 'a connection to the read replica broke', { reason: errorText(error) }),
  })
  const replica = createReplica({ primary, replica: database, maxLagMs, clock })
  const dependency = createReplicaDependency({ replica, database, maxLagMs, clock })
  return { ...replica, dependency, close: () => database.close() }
}
