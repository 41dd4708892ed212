/** An event for one webhook endpoint, a test or a real one again, and what became of it at the first try. */
import { setTimeout as delay } from 'node:timers/promises'
import { EXIT, type ExitCode } from '../exit-codes.js'
import { type ApiClient, type ConnectionArgs, clientFrom } from './api-client.js'
import { chooseEndpoint } from './choose-endpoint.js'
import { assertEventType } from './event-type.js'
import { note, print, printJson } from './terminal.js'

interface TriggerArgs extends ConnectionArgs {
  readonly event: string
  readonly endpoint?: string | undefined
  readonly json?: boolean | undefined
}

interface Attempt {
  readonly number: number
  readonly status: number | null
  readonly error: string | null
  readonly answer: string | null
  readonly durationMs: number
}

interface Delivery {
  readonly id: string
  readonly eventId: string
  readonly eventType: string
  readonly attemptCount: number
  readonly waitsForCircuit: boolean
  readonly status: 'pending' | 'delivered' | 'exhausted' | 'dropped'
  readonly nextAttemptAt: string | null
}

interface TriedDelivery extends Delivery {
  readonly attempts: readonly Attempt[]
}

/** A delivery that was asked for, and how many attempts it had before. */
interface Asked {
  readonly id: string
  readonly attempts: number
}

/** The only type that is made on request: a made-up message would stand among the real events for ever. */
const TEST_EVENT = 'webhook.tested'
/** As many of the endpoint's newest deliveries are looked through for an event to send again. */
const DELIVERIES = 1_000
const LOOK_EVERY_MS = 100
/** A try lasts 15 s at most; it may have to wait behind others. */
const WAIT_MS = 45_000

export async function trigger(args: TriggerArgs): Promise<ExitCode> {
  assertEventType(args.event)
  const client = clientFrom(args)
  const endpoint = await chooseEndpoint(client, args.endpoint)
  const asked = await (args.event === TEST_EVENT ? test(client, endpoint) : sendAgain(client, endpoint, args.event))
  note(`${asked.id} is on its way to ${endpoint}`)
  const delivery = await untilTried(client, asked)
  if (args.json) printJson(delivery)
  else print(inWords(delivery))
  return delivery.status === 'delivered' ? EXIT.done : EXIT.failed
}

async function test(client: ApiClient, endpoint: string): Promise<Asked> {
  const { deliveryId } = await client.post<{ deliveryId: string }>(`/api/webhooks/${endpoint}/test`)
  return { id: deliveryId, attempts: 0 }
}

/** The newest event of the type that this endpoint was sent, under its own id. */
async function sendAgain(client: ApiClient, endpoint: string, type: string): Promise<Asked> {
  let looked = 0
  for await (const delivery of client.list<Delivery>(`/api/webhooks/${endpoint}/deliveries`)) {
    if (delivery.eventType === type) {
      await client.post(`/api/webhooks/${endpoint}/replay`, { eventId: delivery.eventId })
      return { id: delivery.id, attempts: delivery.attemptCount }
    }
    looked += 1
    if (looked === DELIVERIES) break
  }
  throw new Error(
    `No ${type} has been sent to ${endpoint} lately, and none is made up. Let one happen (mirante demo has a simulated WhatsApp), or send the test event: mirante trigger ${TEST_EVENT}`,
  )
}

/** Until a try is over, however it went, or it is known to wait for long. */
async function untilTried(client: ApiClient, { id, attempts }: Asked): Promise<TriedDelivery> {
  const deadline = performance.now() + WAIT_MS
  for (;;) {
    const delivery = await client.get<TriedDelivery>(`/api/deliveries/${id}`)
    if (delivery.status === 'dropped' || delivery.attempts.length > attempts || delivery.waitsForCircuit)
      return delivery
    if (performance.now() > deadline) {
      throw new Error(`${id} has not been tried yet. Does a worker run? See: mirante doctor, mirante cluster`)
    }
    await delay(LOOK_EVERY_MS)
  }
}

function inWords({ id, status, attempts, nextAttemptAt, waitsForCircuit }: TriedDelivery): string {
  if (waitsForCircuit) return `${id}  ${status}  waits: the endpoint has failed so often that it is tried rarely now`
  const last = attempts.at(-1)
  if (!last) return `${id}  ${status}`
  const answer = last.status === null ? (last.error ?? 'no answer') : `HTTP ${last.status}`
  const next = nextAttemptAt === null ? [] : [`next try at ${nextAttemptAt}`]
  const said =
    status === 'delivered' || !last.answer ? [] : [`it said: ${last.answer.split('\n', 1)[0]?.slice(0, 200)}`]
  return [id, status, answer, `${last.durationMs} ms`, ...next, ...said].join('  ')
}
