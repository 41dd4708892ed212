/**
 * Redis by way of ioredis, whose defaults would be dangerous here: a command that waited in its offline queue, or was sent
 * again after a reconnect, would take a lock or count a message long after its caller had given up.
 */
import type { Cluster, CommonRedisOptions, Redis as IoRedis, RedisOptions } from 'ioredis'
import { backoffMs } from '../../kernel/backoff.js'
import { errorText, type Logger } from '../../kernel/logger.js'
import type { Random } from '../../kernel/random.js'
import type { Redis, RedisArgument, RedisNode, RedisScript } from './redis.js'
import { parseRedisUrl, type RedisTarget } from './redis-url.js'

export interface IoRedisOptions {
  /** As in REDIS_URL. */
  readonly url: string
  /** Seen in CLIENT LIST. */
  readonly name: string
  readonly logger: Logger
  readonly random: Random
}

const COMMAND_TIMEOUT_MS = 2_000
const CONNECT_TIMEOUT_MS = 2_000
/** A connection on which an answer has been owed for this long is given up: it may be half open. */
const SILENCE_MS = 10_000
const RECONNECT = { baseMs: 50, factor: 2, maxMs: 2_000, jitter: 0.3 }
/** MOVED and ASK while slots are on the move: a redirected command has not been run. */
const REDIRECTIONS = 4
const NOT_STARTED = 'not started'

type Library = Pick<typeof import('ioredis'), 'Redis' | 'Cluster'>

/** The library is loaded at `start`, which does not wait for a connection. Throws when the URL cannot be read. */
export function createIoRedis(options: IoRedisOptions): Redis {
  const { url, logger } = options
  const target = parseRedisUrl(url)
  let client: IoRedis | Cluster | undefined
  let stopped = false
  let trouble: string | undefined = NOT_STARTED

  return {
    kind: target.kind,
    get isReady() {
      return client?.status === 'ready' && mastersOf(client).every(({ status }) => status === 'ready')
    },
    get trouble() {
      return trouble
    },
    async start() {
      const library = await import('ioredis')
      if (stopped || client) return
      client = connect(target, library, options)
      client.on('error', (error: unknown) => noticeTrouble(reasonOf(error)))
      client.on('close', () => noticeTrouble('the connection is closed'))
      client.on('ready', noticeReady)
    },
    async stop() {
      stopped = true
      client?.disconnect()
    },
    run: async (command, ...args) => ready().call(command, ...args),
    runScript,
    nodes,
  }

  function ready(): IoRedis | Cluster {
    if (client?.status === 'ready') return client
    throw new Error(`Redis is not connected: ${trouble}`)
  }

  async function runScript(script: RedisScript, keys: readonly string[], args: readonly RedisArgument[]) {
    const rest = [keys.length, ...keys, ...args]
    try {
      return await ready().call('evalsha', script.sha, ...rest)
    } catch (error) {
      // Forgotten by a restart or a flush. It has not been run.
      if (!errorText(error).startsWith('NOSCRIPT')) throw error
      return ready().call('eval', script.lua, ...rest)
    }
  }

  function nodes(): readonly RedisNode[] {
    return mastersOf(ready()).map((node) => ({
      name: `${node.options.host ?? 'localhost'}:${node.options.port ?? 6_379}`,
      run: async (command, ...args) => node.call(command, ...args),
    }))
  }

  /** The first error of an outage says most: what follows is "closed", or the same again. */
  function noticeTrouble(reason: string): void {
    if (stopped || (trouble && trouble !== NOT_STARTED)) return
    trouble = reason
    logger.warn('INFO', 'Redis does not answer; going on without it', { reason })
  }

  function noticeReady(): void {
    trouble = undefined
    logger.info('INFO', 'Redis answers')
  }
}

const mastersOf = (client: IoRedis | Cluster): readonly IoRedis[] =>
  'nodes' in client ? client.nodes('master') : [client]

/** A cluster says that all its nodes failed; why, the last of them knows. */
function reasonOf(error: unknown): string {
  const last = (error as { readonly lastNodeError?: unknown }).lastNodeError
  return errorText(last ?? error)
}

function connect(target: RedisTarget, library: Library, { name, random }: IoRedisOptions) {
  const retry = (times: number): number => backoffMs(times - 1, RECONNECT, random)
  const tls = target.tls ? { tls: {} } : {}
  const common = {
    ...(target.username && { username: target.username }),
    ...(target.password && { password: target.password }),
    ...tls,
    connectionName: name,
    connectTimeout: CONNECT_TIMEOUT_MS,
    commandTimeout: COMMAND_TIMEOUT_MS,
    socketTimeout: SILENCE_MS,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    // A master that has become a replica: find the new one, without sending the command again.
    reconnectOnError: (error: Error) => (error.message.startsWith('READONLY') ? 1 : false),
  } satisfies CommonRedisOptions & RedisOptions
  const alone = { ...common, enableOfflineQueue: false, retryStrategy: retry }
  switch (target.kind) {
    case 'server':
      return new library.Redis({ ...alone, ...target.address, db: target.db })
    case 'sentinel':
      return new library.Redis({
        ...alone,
        sentinels: [...target.sentinels],
        name: target.master,
        db: target.db,
        sentinelRetryStrategy: retry,
        sentinelCommandTimeout: COMMAND_TIMEOUT_MS,
        // Told of a failover by the sentinels themselves, before the old master notices.
        failoverDetector: true,
        ...(target.sentinelPassword && { sentinelPassword: target.sentinelPassword }),
        ...(target.tls && { enableTLSForSentinelMode: true, sentinelTLS: {} }),
      })
    case 'cluster': {
      const cluster = new library.Cluster([...target.nodes], {
        enableOfflineQueue: false,
        clusterRetryStrategy: retry,
        clusterNodeRetryStrategy: retry,
        maxRedirections: REDIRECTIONS,
        // 0: a command whose connection broke is not sent again.
        retryDelayOnFailover: 0,
        retryDelayOnClusterDown: 0,
        redisOptions: common,
      })
      // By itself it connects to a server with the first command for it, and refuses those that come until then.
      cluster.on('+node', (node: IoRedis) => void node.connect().catch(() => {}))
      return cluster
    }
  }
}
