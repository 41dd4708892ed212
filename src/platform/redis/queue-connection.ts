/** Connections to Redis for BullMQ, which waits in a command until there is work, and repeats what it may repeat. */
import type { Cluster, CommonRedisOptions, Redis as IoRedis } from 'ioredis'
import { backoffMs } from '../../kernel/backoff.js'
import type { Random } from '../../kernel/random.js'
import { parseRedisUrl } from './redis-url.js'

const CONNECT_TIMEOUT_MS = 5_000
const RECONNECT = { baseMs: 100, factor: 2, maxMs: 5_000, jitter: 0.3 }

/** Connects by itself, for ever. @param url as in REDIS_URL; throws when it cannot be read */
export function createQueueConnections(options: {
  readonly url: string
  readonly name: string
  readonly random: Random
}): () => Promise<IoRedis | Cluster> {
  const target = parseRedisUrl(options.url)
  const retry = (times: number): number => backoffMs(times - 1, RECONNECT, options.random)
  const common = {
    ...(target.username && { username: target.username }),
    ...(target.password && { password: target.password }),
    ...(target.tls && { tls: {} }),
    connectionName: options.name,
    connectTimeout: CONNECT_TIMEOUT_MS,
    // As BullMQ demands.
    maxRetriesPerRequest: null,
    // A master that has become a replica: find the new one, and repeat the command there.
    reconnectOnError: (error: Error) => (error.message.startsWith('READONLY') ? 2 : false),
  } satisfies CommonRedisOptions
  return async () => {
    const library = await import('ioredis')
    switch (target.kind) {
      case 'server':
        return new library.Redis({ ...common, ...target.address, db: target.db, retryStrategy: retry })
      case 'sentinel':
        return new library.Redis({
          ...common,
          sentinels: [...target.sentinels],
          name: target.master,
          db: target.db,
          retryStrategy: retry,
          sentinelRetryStrategy: retry,
          failoverDetector: true,
          ...(target.sentinelPassword && { sentinelPassword: target.sentinelPassword }),
          ...(target.tls && { enableTLSForSentinelMode: true, sentinelTLS: {} }),
        })
      case 'cluster':
        return new library.Cluster([...target.nodes], { clusterRetryStrategy: retry, redisOptions: common })
    }
  }
}
