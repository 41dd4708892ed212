/**
 * The six endpoints of G12, each a server of its own that trusts its own secrets only: what each does to a delivery while there
 * is trouble, and what was seen there. When it is calm all of them answer 200.
 */
import type { Random } from '../../src/kernel/random.js'
import { freePort } from '../support/launch.js'
import { type ReceivedDelivery, startWebhookReceiver, type WebhookReceiver } from '../support/webhook-receiver.js'

/**
 * `ok` takes everything · `flaky` answers 500 three times in ten · `slow` takes 20 s to answer, longer than is waited · nobody
 * listens at `dead` · `gone` answers 410 · `redirecting` points elsewhere.
 */
export const endpointNames = ['ok', 'flaky', 'slow', 'dead', 'gone', 'redirecting'] as const
export type EndpointName = (typeof endpointNames)[number]

export interface Arrival {
  /** The `webhook-id`. */
  readonly id: string
  /** Epoch ms. */
  readonly at: number
  /** When the event happened, by its body: epoch ms. */
  readonly happenedAt: number
  /** How many of the endpoint's secrets its signatures verify under, by the public library; never none. */
  readonly verifiedBy: number
}

export interface Endpoint {
  readonly name: EndpointName
  readonly url: string
  /** Everything that was signed as it should be, in order, whatever was answered. */
  readonly arrivals: readonly Arrival[]
  /** The ids that were answered 2xx in time. */
  readonly taken: ReadonlySet<string>
  /** The bodies that came under each id; there should be one. */
  readonly bodies: ReadonlyMap<string, ReadonlySet<string>>
  /** Everything else. */
  readonly forged: () => number
  readonly trust: (secret: string) => void
}

export interface Endpoints {
  readonly of: Readonly<Record<EndpointName, Endpoint>>
  readonly all: readonly Endpoint[]
  /** How many requests came to where `redirecting` points. */
  readonly followed: () => number
  /** The trouble is over; who was dead lives. */
  calm(): Promise<void>
  stop(): Promise<void>
}

const SLOW_MS = 20_000

export async function startEndpoints(random: Random): Promise<Endpoints> {
  const receivers: WebhookReceiver[] = []
  let trouble = true
  let followed = 0

  const dead = createEndpoint('dead', `http://127.0.0.1:${await freePort()}/dead`)
  const of = {
    ok: await startEndpoint('ok'),
    flaky: await startEndpoint('flaky'),
    slow: await startEndpoint('slow'),
    dead,
    gone: await startEndpoint('gone'),
    redirecting: await startEndpoint('redirecting'),
  }

  return {
    of,
    all: endpointNames.map((name) => of[name]),
    followed: () => followed,
    async calm() {
      trouble = false
      dead.listenWith(await start({ port: Number(new URL(dead.url).port) }))
    },
    async stop() {
      await Promise.all(receivers.map((receiver) => receiver.stop()))
    },
  }

  async function start(options: { port?: number } = {}): Promise<WebhookReceiver> {
    const receiver = await startWebhookReceiver(options)
    receivers.push(receiver)
    return receiver
  }

  async function startEndpoint(name: EndpointName) {
    const receiver = await start()
    const endpoint = createEndpoint(name, receiver.at(`/${name}`))
    endpoint.listenWith(receiver)
    return endpoint
  }

  function createEndpoint(name: EndpointName, url: string) {
    const arrivals: Arrival[] = []
    const taken = new Set<string>()
    const bodies = new Map<string, Set<string>>()
    const secrets: string[] = []
    let receiver: WebhookReceiver | undefined

    function answer(delivery: ReceivedDelivery) {
      if (delivery.path !== `/${name}`) {
        followed += 1
        return { status: 200 }
      }
      const { id, body, payload, verifiedBy } = delivery
      arrivals.push({
        id,
        at: Date.now(),
        happenedAt: Date.parse(payload.timestamp),
        verifiedBy: verifiedBy.length,
      })
      bodies.set(id, (bodies.get(id) ?? new Set()).add(body))
      const answered = trouble ? inTrouble(name, random) : { status: 200 }
      if (answered.status === 200 && !('afterMs' in answered)) taken.add(id)
      return answered
    }

    return {
      name,
      url,
      arrivals,
      taken,
      bodies,
      forged: () => receiver?.refused.length ?? 0,
      trust(secret: string) {
        secrets.push(secret)
        receiver?.trust(secret)
      },
      listenWith(given: WebhookReceiver) {
        receiver = given
        for (const secret of secrets) given.trust(secret)
        given.answerWith(answer)
      },
    }
  }
}

function inTrouble(name: EndpointName, random: Random) {
  switch (name) {
    case 'flaky':
      return { status: random() < 0.3 ? 500 : 200 }
    case 'slow':
      return { status: 200, afterMs: SLOW_MS }
    case 'gone':
      return { status: 410 }
    case 'redirecting':
      return { status: 307, headers: { location: '/elsewhere' } }
    default:
      return { status: 200 }
  }
}
