/** What every role needs: database, identity, leases, keys, events, jobs. */
import { join } from 'node:path'
import { createAddressBook } from '../features/contacts/address-book.js'
import { describeContactEvents } from '../features/contacts/contact-view.js'
import { createEventView, describeAsRecorded } from '../features/events/event-view.js'
import { describeCallEvents } from '../features/instances/receive-calls.js'
import { fetchMediaPolicy } from '../features/messages/fetch-media.js'
import { describeMediaEvents } from '../features/messages/media-view.js'
import { describeMessageEvents } from '../features/messages/message-view.js'
import { createDataKeys, kekOf } from '../features/tenants/data-keys.js'
import { createDeadLetterRecorder, describeJobEvents } from '../features/webhooks/dead-letters.js'
import { fanOutPolicy } from '../features/webhooks/fan-out.js'
import { deliverWebhookPolicy } from '../features/webhooks/retry-schedule.js'
import { describeWebhookEvents } from '../features/webhooks/webhook-view.js'
import { systemClock } from '../kernel/clock.js'
import { createIdGenerator } from '../kernel/ids.js'
import { errorText } from '../kernel/logger.js'
import type { Service } from '../kernel/service.js'
import { createPostgres } from '../platform/database/postgres.js'
import { createEgress } from '../platform/egress/http-client.js'
import { createJobs } from '../platform/jobs/create-jobs.js'
import { createPostgresDispatcher } from '../platform/jobs/dispatch/postgres.js'
import { createIncarnation } from '../platform/leases/incarnation.js'
import { createLeadership } from '../platform/leases/leader.js'
import { leaseTerms } from '../platform/leases/lease.js'
import { createLeaseStore } from '../platform/leases/lease-store.js'
import { createDirectoryStorage } from '../platform/media/fs.js'
import { createBaileysProvider } from '../platform/whatsapp/baileys/baileys.js'
import type { ComposeOptions } from './compose-options.js'
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
  const leases = {
    store: createLeaseStore(db, { advisoryLocks: ADVISORY_LOCKS }),
    holder: incarnation.id,
    terms: leaseTerms(config.leaseTtlMs),
  }
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
  const jobs = createJobs({
    db,
    dispatcher: createPostgresDispatcher(db),
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
  const database: Service = { start: async () => {}, stop: () => db.close() }
  return {
    clock,
    random,
    ids,
    logger,
    db,
    database,
    dataKeys,
    incarnation,
    leases,
    leadership,
    jobs,
    show,
    overrides,
    role,
    version,
    provider: overrides.provider?.(real) ?? real,
    addressBook: createAddressBook({ db, ids }),
    mediaStorage: createDirectoryStorage(config.mediaDirectory ?? join(config.dataDirectory, 'media')),
    maxMediaBytes: config.mediaMaxMb * 1024 * 1024,
    egress: overrides.egress?.(egress) ?? egress,
    /** What is fetched is no secret, and much of it has no https. */
    mediaEgress: createEgress({ allow: config.egressAllow ?? [], clock, allowHttp: true }),
    life: { started: false, draining: false },
  }
}
