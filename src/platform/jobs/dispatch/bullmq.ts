/**
 * Wake-ups over BullMQ in Redis: a queue for the kinds of jobs, from which the workers compete, and a channel for each process
 * that holds instances. BullMQ is optional and loaded at start. Redis may be wiped at any time: what it forgets, a sweep finds.
 */
import type { Queue, Worker } from 'bullmq'
import type { Cluster, Redis as IoRedis } from 'ioredis'
import type { Clock } from '../../../kernel/clock.js'
import type { InstanceId } from '../../../kernel/ids.js'
import { errorText, type Logger } from '../../../kernel/logger.js'
import type { Redis } from '../../redis/redis.js'
import { type JobKind, jobKinds } from '../jobs.js'
import { readInstances, readKind, type WakeUp, type WakeUpBroker, type WakeUpBrokerOptions } from './broker.js'

export interface BullBrokerOptions extends WakeUpBrokerOptions {
  /** The same Redis, for what is not BullMQ's; started and stopped by the broker's link. */
  readonly redis: Redis
  /** Makes a connection for BullMQ, which wants its own: it waits in commands for longer than others may. */
  readonly connect: () => Promise<IoRedis | Cluster>
  readonly clock: Clock
  readonly logger: Logger
}

const QUEUE = 'wake-ups'
/** Where nobody works, wake-ups pile up to about this many; more would say nothing new. */
const MAX_WAITING = 1_000
const CONCURRENCY = 50
const ANSWER_MS = 5_000
const CLOSE_MS = 2_000

export function createBullBroker(options: BullBrokerOptions): WakeUpBroker {
  const { redis, connect, namespace, holder, clock, logger } = options
  const onKind: ((kind: JobKind) => void)[] = []
  const onReady: (() => void)[] = []
  const connections = new Set<IoRedis | Cluster>()
  let ring: (instanceId: InstanceId) => void = () => {}
  let onAny: () => void = () => {}
  let library: typeof import('bullmq') | undefined
  let publishing: IoRedis | Cluster | undefined
  let queue: Queue | undefined
  let worker: Worker | undefined
  let working: IoRedis | Cluster | undefined
  let listening: IoRedis | Cluster | undefined

  return {
    link: {
      async start() {
        library ??= await loadLibrary()
        await redis.start()
        publishing ??= await open(() => {
          for (const listener of onReady) listener()
        })
      },
      async stop() {
        // A Redis that does not answer would be waited for.
        await within(CLOSE_MS, Promise.resolve(queue?.close())).catch(ignore)
        for (const connection of [...connections]) close(connection)
        await redis.stop()
      },
    },
    publisher: {
      get isReady() {
        return publishing?.status === 'ready' && redis.isReady
      },
      onReady: (listener) => void onReady.push(listener),
      publish: (wakeUps) => within(ANSWER_MS, publish(wakeUps)),
    },
    dispatcher: {
      onWakeUp: (listener) => void onKind.push(listener),
      async start() {
        if (worker || !library) return
        const prefix = prefixOf(await namespace())
        const connection = await open(() => jobKinds.forEach(tell))
        working = connection
        worker = new library.Worker(QUEUE, async ({ data }) => tell(readKind(data)), {
          ...{ connection, prefix, concurrency: CONCURRENCY, skipVersionCheck: true },
          removeOnComplete: { count: 0 },
          removeOnFail: { count: 0 },
        })
        // `redis` says once that Redis is gone and that it is back; BullMQ says it at every try.
        worker.on('error', ignore)
        // Its connection may have been there before it was listened to.
        if (connection.status === 'ready') jobKinds.forEach(tell)
      },
      async stop() {
        await within(CLOSE_MS, Promise.resolve(worker?.close())).catch(ignore)
        if (working) close(working)
        worker = undefined
        working = undefined
      },
    },
    bells: {
      onRing(ringOne, ringAny) {
        ring = ringOne
        onAny = ringAny
      },
      async start() {
        if (listening) return
        const channel = channelOf(await namespace(), holder)
        listening = await open(() => onAny())
        listening.on('message', (_channel: string, text: string) => readInstances(parse(text)).forEach(ring))
        // Resolves when there is a connection, and is done again by itself with each new one.
        void listening.subscribe(channel).then(onAny, (error: unknown) => {
          logger.warn('INFO', 'the bells of instances cannot be heard', { reason: errorText(error) })
        })
      },
      async stop() {
        if (listening) close(listening)
        listening = undefined
      },
    },
  }

  async function publish(wakeUps: readonly WakeUp[]): Promise<void> {
    const space = await namespace()
    const kinds = wakeUps.flatMap((wakeUp) => (wakeUp.to === 'worker' ? [wakeUp.kind] : []))
    const rings = wakeUps.flatMap((wakeUp) =>
      wakeUp.to === 'holder'
        ? [[channelOf(space, wakeUp.holder), JSON.stringify({ instances: wakeUp.instances })]]
        : [],
    )
    await Promise.all([enqueue(space, kinds), ...rings.map((words) => redis.run('publish', ...words))])
  }

  async function enqueue(space: string, kinds: readonly JobKind[]): Promise<void> {
    if (kinds.length === 0 || !library || !publishing) return
    if (!queue) {
      queue = new library.Queue(QUEUE, {
        ...{ connection: publishing, prefix: prefixOf(space), skipVersionCheck: true },
        // Nobody reads BullMQ's own account of what it did.
        streams: { events: { maxLen: 10 } },
        defaultJobOptions: { removeOnComplete: true, removeOnFail: true },
      })
      queue.on('error', ignore)
    }
    if ((await queue.getWaitingCount()) >= MAX_WAITING) return
    await queue.addBulk(kinds.map((kind) => ({ name: kind, data: { kind } })))
  }

  function tell(kind: JobKind | undefined): void {
    if (kind) for (const listener of onKind) listener(kind)
  }

  async function open(ready: () => void): Promise<IoRedis | Cluster> {
    const connection = await connect()
    connections.add(connection)
    connection.on('error', ignore)
    connection.on('ready', ready)
    return connection
  }

  function close(connection: IoRedis | Cluster): void {
    connections.delete(connection)
    connection.disconnect()
  }

  async function within(ms: number, work: Promise<unknown>): Promise<void> {
    const over = new AbortController()
    const late = clock.sleep(ms, over.signal).then(
      () => Promise.reject(new Error(`no answer within ${ms} ms`)),
      () => {},
    )
    try {
      await Promise.race([work, late])
    } finally {
      over.abort()
      work.catch(ignore)
    }
  }
}

const ignore = (): void => {}

/** The braces keep all keys of the queue on one server of a cluster. */
const prefixOf = (namespace: string): string => `{mirante:${namespace}}`
const channelOf = (namespace: string, holder: string): string => `mirante:${namespace}:bell:${holder}`

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

async function loadLibrary(): Promise<typeof import('bullmq')> {
  try {
    return await import('bullmq')
  } catch (cause) {
    throw new Error('QUEUE_URL=redis://… needs BullMQ, which is optional: npm install bullmq@6', { cause })
  }
}
