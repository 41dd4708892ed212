/** The role web: the HTTP API. */
import { createCheckNumbers } from '../features/contacts/check-numbers.js'
import { contactRoutes } from '../features/contacts/contact-routes.js'
import { eventRoutes } from '../features/events/event-routes.js'
import { createLiveEvents } from '../features/events/live-events.js'
import { createNumberAsker } from '../features/instances/ask-numbers.js'
import { blockRoutes } from '../features/instances/block-routes.js'
import { createChangeInstance } from '../features/instances/change-instance.js'
import { groupRoutes } from '../features/instances/group-routes.js'
import { instanceRoutes } from '../features/instances/instance-routes.js'
import { createNews } from '../features/instances/news.js'
import { pairingRoutes } from '../features/instances/pairing-routes.js'
import { defaultReconnectPolicy } from '../features/instances/reconnect-policy.js'
import { abandonMessages } from '../features/messages/abandon-messages.js'
import { createCancelResend } from '../features/messages/cancel-resend.js'
import { cancelResendRoutes } from '../features/messages/cancel-resend-routes.js'
import { chatActionRoutes } from '../features/messages/chat-action-routes.js'
import { chatListRoutes } from '../features/messages/chat-list-routes.js'
import { mediaRoutes } from '../features/messages/media-routes.js'
import { messageChangeRoutes } from '../features/messages/message-change-routes.js'
import { messageListRoutes } from '../features/messages/message-list-routes.js'
import { messageRoutes } from '../features/messages/message-routes.js'
import { createMessageQueue } from '../features/messages/queue-message.js'
import { clusterRoutes } from '../features/ops/cluster-routes.js'
import { deadLetterRoutes } from '../features/ops/dead-letter-routes.js'
import { healthRoutes } from '../features/ops/health-routes.js'
import { placementRoutes } from '../features/ops/placement-routes.js'
import { traceRoutes } from '../features/ops/trace-routes.js'
import { apiKeyRoutes } from '../features/tenants/api-key-routes.js'
import { createKeyVerifier } from '../features/tenants/key-verifier.js'
import { deliveryRoutes } from '../features/webhooks/delivery-routes.js'
import { replayRoutes } from '../features/webhooks/replay-routes.js'
import { webhookOperations } from '../features/webhooks/webhook-document.js'
import { webhookRoutes } from '../features/webhooks/webhook-routes.js'
import type { Service } from '../kernel/service.js'
import { createCache } from '../platform/cache/cache.js'
import { createMemoryCache } from '../platform/cache/memory.js'
import { createRedisCache } from '../platform/cache/redis.js'
import { createFallbackRateLimiter } from '../platform/counters/fallback-rate-limit.js'
import { createMemoryRateLimiter } from '../platform/counters/memory-rate-limit.js'
import { createRedisRateLimiter } from '../platform/counters/redis-rate-limit.js'
import { readerOf } from '../platform/database/reader.js'
import type { RateLimitOptions } from '../platform/http/rate-limit.js'
import { createHttpServer, type HttpServer } from '../platform/http/server.js'
import { createProcessCount } from '../platform/leases/process-count.js'
import type { Base } from './compose-base.js'
import type { Config } from './config.js'

export function composeWeb(config: Config, base: Base): { readonly server: HttpServer; readonly services: Service[] } {
  const { db, replica, clock, random, ids, logger, redis, jobs, egress, dataKeys, show, life, overrides, version } =
    base
  const reader = replica?.reader ?? readerOf(db)
  const keys = createKeyVerifier({ db, clock, logger })
  const live = createLiveEvents({ db, show, clock, random, logger })
  const news = createNews({ db, clock })
  const change = createChangeInstance({ db, ids, clock, news, onDeleted: abandonMessages })
  const queue = createMessageQueue({
    db,
    ids,
    clock,
    addressBook: base.addressBook,
    newWhatsappId: base.provider.newWhatsappId,
    maxBacklog: config.maxBacklog,
    ...(overrides.maxAcceptBatch && { maxBatch: overrides.maxAcceptBatch }),
    ...(overrides.crashPoint && { crashPoint: overrides.crashPoint }),
  })
  const server = createHttpServer({
    logger,
    version,
    host: config.host,
    port: config.port,
    drainWaitMs: config.drainWaitMs,
    clock,
    authenticate: keys.authenticate,
    idempotency: {
      db,
      vault: {
        seal: (tenantId, id, plaintext) => dataKeys.sealForTenant(tenantId, 'idempotency', id, plaintext),
        open: (tenantId, id, sealed) => dataKeys.openForTenant(tenantId, 'idempotency', id, sealed),
      },
    },
    webhooks: webhookOperations,
    rateLimit: composeRateLimit(config, base),
    ...(replica && { onChange: replica.noteChange }),
    modules: [
      healthRoutes({
        db,
        clock,
        cache: createCache({ place: redis ? createRedisCache({ redis }) : createMemoryCache({ clock }), clock }),
        dependencies: base.dependencyChecks,
        authenticate: keys.authenticate,
        isStarted: () => life.started,
        isDraining: () => life.draining,
        version,
        processName: base.role,
      }),
      instanceRoutes({ db, dataKeys, news, change, maxAttempts: defaultReconnectPolicy.maxAttempts }),
      blockRoutes({ db, ids, news }),
      pairingRoutes({ db, ids, news, dataKeys }),
      mediaRoutes({ db, ids, clock, storage: base.mediaStorage, maxBytes: base.maxMediaBytes }),
      messageRoutes({ db, queue, news }),
      messageListRoutes({ reader }),
      messageChangeRoutes({ db, queue }),
      cancelResendRoutes({ change: createCancelResend({ db, ids }) }),
      traceRoutes({ reader }),
      groupRoutes({ db, ids, news }),
      chatListRoutes({ reader }),
      chatActionRoutes({ db, ids, news }),
      contactRoutes({
        db,
        reader,
        ids,
        checkNumbers: createCheckNumbers({
          db,
          addressBook: base.addressBook,
          whatsapp: createNumberAsker({ db, ids, news }),
        }),
      }),
      webhookRoutes({ db, jobs, egress, dataKeys, clock, ids }),
      replayRoutes({ db, jobs, clock, ids }),
      deliveryRoutes({ db, reader }),
      eventRoutes({ db, show, live }),
      apiKeyRoutes({ db, ids, clock }),
      deadLetterRoutes({ jobs }),
      placementRoutes({ db, ids, logger }),
      clusterRoutes({ db, dependencies: base.dependencyChecks }),
    ],
  })
  const started: Service = {
    async start() {
      life.started = true
    },
    async stop() {},
  }
  return { server, services: [keys, live, news, server, started] }
}

/** Undefined where nothing is limited: then requests do not pay for it. */
function composeRateLimit({ rateLimitPerMinute: perMinute }: Config, base: Base): RateLimitOptions | undefined {
  if (perMinute === 0) return undefined
  const { db, clock, redis, role } = base
  const limiter = createFallbackRateLimiter({
    shared: redis && createRedisRateLimiter({ redis }),
    own: createMemoryRateLimiter({ clock }),
    processes: createProcessCount({ db, role, clock }),
    clock,
  })
  return { limiter, perMinute, clock }
}
