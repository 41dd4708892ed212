/** RabbitMQ by way of rabbitmq-client, which is loaded at `start`. */
import type { Connection, Consumer, Publisher } from 'rabbitmq-client'
import type { Clock } from '../../kernel/clock.js'
import type { Dependency, DependencyProblem, DependencyReport } from '../../kernel/dependency.js'
import { errorText, type Logger } from '../../kernel/logger.js'
import type { Consuming, QueueDeclaration, Rabbit, RabbitConsumer, RabbitSender } from './rabbit.js'
import { problemsOf, readRabbitUrl, type Trouble, troubleOf } from './rabbit-trouble.js'

export interface RabbitClientOptions {
  readonly url: string
  /** Seen in the list of connections. */
  readonly name: string
  readonly clock: Clock
  readonly logger: Logger
  /** What Mirante does while it is down, as one sentence. */
  readonly meanwhile: string
  /** More to look at while it answers. Default: nothing. */
  readonly look?: () => Promise<readonly DependencyProblem[]>
}

export interface RabbitClient extends Rabbit {
  readonly dependency: Dependency
}

/** How long the server may take to confirm. */
const CONFIRM_MS = 5_000
const PROBE_MS = 1_500
const CLOSE_MS = 2_000
/** Between tries to connect, spread by chance; also for a queue that cannot be declared. */
const RETRY = { retryLow: 200, retryHigh: 10_000 }
/** Queues of this name need not exist: without a binding the server drops the message, and confirms it. */
const PROBE_KEY = 'mirante.probe'

class SilenceError extends Error {}

export function createRabbitClient(options: RabbitClientOptions): RabbitClient {
  const { name, clock, logger } = options
  const url = readRabbitUrl(options.url)
  const troubles = new Map<string, Trouble>()
  const topics = new Set<string>()
  const listeners: (() => void)[] = []
  const consumers = new Set<Consumer>()
  let RabbitConnection: typeof Connection | undefined
  let publishing: Connection | undefined
  let consuming: Connection | undefined
  let probe: Publisher | undefined
  let stopped = false
  let told: 'nothing' | 'trouble' | 'well' = 'nothing'

  return {
    get takesMessages() {
      return publishing?.ready === true
    },
    onTakesMessages: (listener) => void listeners.push(listener),
    async start() {
      ;({ Connection: RabbitConnection } = await import('rabbitmq-client'))
      if (stopped || publishing) return
      publishing = connect('publishing')
      publishing.on('connection', () => {
        topics.clear()
        notice('confirms', undefined)
      })
      publishing.on('connection', tell)
      publishing.on('connection.unblocked', tell)
      probe = publishing.createPublisher({ confirm: true })
    },
    stop,
    sender,
    async declareTopic(exchange) {
      if (topics.has(exchange)) return
      await within(CONFIRM_MS, open().exchangeDeclare({ exchange, type: 'topic', durable: true }))
      topics.add(exchange)
    },
    consume,
    messageCount: async (queue) =>
      (
        await open()
          .queueDeclare({ queue, passive: true })
          .catch(() => undefined)
      )?.messageCount,
    dependency: { name: 'rabbitmq', check },
  }

  function tell(): void {
    for (const listener of listeners) listener()
  }

  async function stop(): Promise<void> {
    stopped = true
    // A server that is blocked, or gone without a word, would be waited for.
    await within(CLOSE_MS, closeAll()).catch(() => {})
    for (const connection of [consuming, publishing]) connection?.unsafeDestroy()
  }

  async function closeAll(): Promise<void> {
    await Promise.all([...consumers].map((consumer) => consumer.close()))
    await probe?.close()
  }

  function connect(purpose: string): Connection {
    if (!RabbitConnection) throw new Error('not started')
    const connection = new RabbitConnection({
      url,
      connectionName: `${name} ${purpose}`,
      acquireTimeout: CONFIRM_MS,
      connectionTimeout: CONFIRM_MS,
      heartbeat: 10,
      noDelay: true,
      ...RETRY,
    })
    connection.on('error', (error: unknown) => notice(purpose, troubleOf(error)))
    connection.on('connection', () => notice(purpose, undefined))
    connection.on('connection.blocked', (reason) => notice(purpose, { code: 'alarm', words: reason }))
    connection.on('connection.unblocked', () => notice(purpose, undefined))
    return connection
  }

  /** Told once when it begins, by whichever connection notices first, and once when all is well. */
  function notice(part: string, trouble: Trouble | undefined): void {
    if (stopped || (!trouble && !troubles.has(part) && told === 'well')) return
    if (trouble) troubles.set(part, trouble)
    else troubles.delete(part)
    if (trouble && told !== 'trouble') {
      told = 'trouble'
      const isThere = trouble.code === 'alarm' || trouble.code === 'unconfirmed'
      const found = isThere
        ? 'RabbitMQ takes no messages; going on without it'
        : 'RabbitMQ cannot be used; going on without it'
      logger.warn('INFO', found, { code: trouble.code, reason: trouble.words })
    } else if (troubles.size === 0 && told !== 'well') {
      told = 'well'
      logger.info('INFO', 'RabbitMQ answers')
    }
  }

  function open(): Connection {
    if (publishing?.ready) return publishing
    throw new Error(`RabbitMQ takes no messages: ${[...troubles.values()][0]?.words ?? 'there is no connection yet'}`)
  }

  function sender(queues: readonly QueueDeclaration[] = []): RabbitSender {
    let publisher: Publisher | undefined
    return {
      async send(envelope, body) {
        const connection = open()
        publisher ??= connection.createPublisher({ confirm: true, queues: [...queues] })
        try {
          await within(CONFIRM_MS, publisher.send({ durable: true, ...envelope }, body))
          notice('confirms', undefined)
        } catch (error) {
          if (error instanceof SilenceError) notice('confirms', { code: 'unconfirmed', words: error.message })
          // It may have been deleted.
          topics.delete(envelope.exchange ?? '')
          throw error
        }
      },
    }
  }

  function consume({ onMessage, onReady, ...props }: Consuming): RabbitConsumer {
    consuming ??= connect('consuming')
    const part = `queue ${props.queue ?? ''}`
    const consumer = consuming.createConsumer(props, ({ body }) => onMessage(body))
    consumers.add(consumer)
    consumer.on('ready', () => {
      notice(part, undefined)
      onReady()
    })
    // That the connection broke, or the queue was deleted, heals by itself; that it cannot be declared may not.
    consumer.on('error', (error: unknown) => {
      const trouble = troubleOf(error)
      if (trouble.code === 'refused') notice(part, trouble)
    })
    return {
      async close() {
        consumers.delete(consumer)
        await within(CLOSE_MS, consumer.close()).catch(() => {})
      },
    }
  }

  async function check(): Promise<DependencyReport> {
    const sentAt = clock.mono()
    const silence = publishing?.ready && probe ? await ask(probe) : undefined
    const latencyMs = Math.round((clock.mono() - sentAt) * 10) / 10
    const answers = publishing?.ready === true && silence === undefined
    const found = answers ? ((await options.look?.().catch(() => [])) ?? []) : []
    const unconfirmed: Trouble[] = silence && troubles.size === 0 ? [{ code: 'unconfirmed', words: silence }] : []
    const problems = [...problemsOf([...troubles.values(), ...unconfirmed], answers), ...found]
    const status = answers ? (problems.length > 0 ? 'degraded' : 'up') : isConnected() ? 'degraded' : 'down'
    return {
      name: 'rabbitmq',
      status,
      meanwhile: status === 'up' ? null : options.meanwhile,
      latencyMs: answers ? latencyMs : null,
      version: null,
      problems,
    }
  }

  function isConnected(): boolean {
    return publishing?.ready === true || [...troubles.values()].some(({ code }) => code === 'alarm')
  }

  /** Undefined when it confirms in time. An alarm is told to who publishes, so this finds one, too. */
  function ask(publisher: Publisher): Promise<string | undefined> {
    return within(PROBE_MS, publisher.send({ routingKey: PROBE_KEY }, '')).then(() => undefined, errorText)
  }

  async function within<Result>(ms: number, work: Promise<Result>): Promise<Result> {
    const over = new AbortController()
    const late = clock.sleep(ms, over.signal).then(
      () => Promise.reject(new SilenceError(`no answer within ${ms} ms`)),
      () => new Promise<never>(() => {}),
    )
    try {
      return await Promise.race([work, late])
    } finally {
      over.abort()
      work.catch(() => {})
    }
  }
}
