/**
 * Wake-ups over RabbitMQ. One durable quorum queue for the kinds of jobs, from which the workers compete: a wake-up is for
 * one of them. Beside it a queue for each process that holds instances, gone when that process is. A message that is given
 * back again and again, by workers that die with it, is parked in a queue of its own: harmless, and counted.
 */
import type { DependencyProblem } from '../../../kernel/dependency.js'
import type { InstanceId } from '../../../kernel/ids.js'
import type { QueueDeclaration, Rabbit, RabbitConsumer, RabbitSender } from '../../rabbitmq/rabbit.js'
import { type JobKind, jobKinds } from '../jobs.js'
import { readInstances, readKind, type WakeUp, type WakeUpBroker, type WakeUpBrokerOptions } from './broker.js'

export interface RabbitBroker extends WakeUpBroker {
  /** For the report on RabbitMQ. */
  findProblems(): Promise<readonly DependencyProblem[]>
}

/** Where nobody works, wake-ups pile up to this many; a full queue refuses more, and says all that there is to say. */
const MAX_WAITING = 1_000
const MAX_DELIVERIES = 20
const PREFETCH = 50
/** A queue whose process was killed before it had listened. */
const ABANDONED_MS = 3_600_000

export function createRabbitBroker({
  rabbit,
  namespace,
  holder,
}: WakeUpBrokerOptions & { readonly rabbit: Rabbit }): RabbitBroker {
  const onKind: ((kind: JobKind) => void)[] = []
  let ring: (instanceId: InstanceId) => void = () => {}
  let onAny: () => void = () => {}
  let known: Promise<Names> | undefined
  let sender: RabbitSender | undefined
  let working: RabbitConsumer | undefined
  let listening: RabbitConsumer | undefined

  return {
    link: { start: () => rabbit.start(), stop: () => rabbit.stop() },
    publisher: {
      get isReady() {
        return rabbit.takesMessages
      },
      onReady: (listener) => rabbit.onTakesMessages(listener),
      async publish(wakeUps) {
        const names = await namesOnce()
        sender ??= rabbit.sender([names.parked, names.jobs])
        const { send } = sender
        await Promise.all(wakeUps.map((wakeUp) => send(...messageFor(wakeUp, names))))
      },
    },
    dispatcher: {
      onWakeUp: (listener) => void onKind.push(listener),
      async start() {
        const { jobs } = await namesOnce()
        working ??= rabbit.consume({
          queue: jobs.queue,
          queueOptions: jobs,
          qos: { prefetchCount: PREFETCH },
          onMessage: (body) => tell(readKind(body)),
          onReady: () => jobKinds.forEach(tell),
        })
      },
      async stop() {
        await working?.close()
        working = undefined
      },
    },
    bells: {
      onRing(ringOne, ringAny) {
        ring = ringOne
        onAny = ringAny
      },
      async start() {
        const queue = bellOf(await namesOnce(), holder)
        listening ??= rabbit.consume({
          queue: queue.queue,
          queueOptions: queue,
          qos: { prefetchCount: PREFETCH },
          onMessage: (body) => readInstances(body).forEach(ring),
          onReady: onAny,
        })
      },
      async stop() {
        await listening?.close()
        listening = undefined
      },
    },
    async findProblems() {
      const { parked } = await namesOnce()
      const count = (await rabbit.messageCount(parked.queue)) ?? 0
      return count > 0 ? [parkedWakeUps(count, parked.queue)] : []
    },
  }

  function tell(kind: JobKind | undefined): void {
    if (kind) for (const listener of onKind) listener(kind)
  }

  /** A database that does not answer now is asked again. */
  function namesOnce(): Promise<Names> {
    known ??= namespace().then(namesIn, (error: unknown) => {
      known = undefined
      throw error
    })
    return known
  }
}

interface Names {
  readonly prefix: string
  readonly jobs: QueueDeclaration
  readonly parked: QueueDeclaration
}

/** Arguments of a queue never change: whoever wants others gives it another name. */
function namesIn(namespace: string): Names {
  const prefix = `mirante.${namespace}`
  const parked = `${prefix}.parked`
  return {
    prefix,
    parked: {
      queue: parked,
      durable: true,
      arguments: { 'x-queue-type': 'quorum', 'x-max-length': MAX_WAITING, 'x-overflow': 'drop-head' },
    },
    jobs: {
      queue: `${prefix}.jobs`,
      durable: true,
      arguments: {
        'x-queue-type': 'quorum',
        'x-max-length': MAX_WAITING,
        'x-overflow': 'reject-publish',
        'x-delivery-limit': MAX_DELIVERIES,
        // The default exchange, which takes a queue's name as the key.
        'x-dead-letter-exchange': '',
        'x-dead-letter-routing-key': parked,
      },
    },
  }
}

/** Neither exclusive nor named by the server: a reconnect finds it again, whatever the server thinks of the old connection. */
const bellOf = ({ prefix }: Names, holder: string): QueueDeclaration => ({
  queue: `${prefix}.bell.${holder}`,
  durable: true,
  autoDelete: true,
  arguments: { 'x-expires': ABANDONED_MS, 'x-max-length': MAX_WAITING, 'x-overflow': 'drop-head' },
})

/** To a queue that is not there the server drops it. */
function messageFor(wakeUp: WakeUp, names: Names): Parameters<RabbitSender['send']> {
  const contentType = 'application/json'
  switch (wakeUp.to) {
    case 'worker':
      return [{ routingKey: names.jobs.queue, contentType }, Buffer.from(JSON.stringify({ kind: wakeUp.kind }))]
    case 'holder':
      return [
        { routingKey: bellOf(names, wakeUp.holder).queue, contentType },
        Buffer.from(JSON.stringify({ instances: wakeUp.instances })),
      ]
  }
}

const parkedWakeUps = (count: number, queue: string): DependencyProblem => ({
  code: 'parked_wake_ups',
  found: `${count} wake-ups were given back again and again and are parked; no job is touched by it.`,
  action: `Workers die while they begin work: look at their logs. Then purge the queue ${queue}.`,
})
