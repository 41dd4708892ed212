/**
 * A webhook receiver as a customer would write one: verifies signatures with the public `standardwebhooks` library, keeps
 * what came, and answers as a test tells it to. One receiver plays any number of endpoints: every path below its URL.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Webhook } from 'standardwebhooks'

export interface WebhookPayload {
  readonly type: string
  readonly timestamp: string
  // biome-ignore lint/suspicious/noExplicitAny: what it looks like depends on the type, and tests look into it
  readonly data: any // oxlint-disable-line typescript/no-explicit-any
}

export interface ReceivedDelivery {
  /** The `webhook-id` header. */
  readonly id: string
  /** The path that it came to. */
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  /** The bytes as they came. */
  readonly body: string
  readonly payload: WebhookPayload
  /** The trusted secrets under which the signature verifies; none where it was refused. */
  readonly verifiedBy: readonly string[]
  /** Which time this id came to this path; 1 is the first. */
  readonly count: number
}

export interface ReceiverAnswer {
  readonly status: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
  /** Waits this long before it answers, in ms. Infinity: never answers. */
  readonly afterMs?: number
}

export type AnswerRule = (delivery: ReceivedDelivery) => ReceiverAnswer | number

export interface WebhookReceiver {
  readonly url: string
  /** Where a further endpoint of this receiver is: `at('/slow')`. */
  at(path: string): string
  /** Accepts what is signed with this secret, besides those trusted before. */
  trust(secret: string): void
  distrust(secret: string): void
  /** How verified deliveries are answered from now on. @default 200 */
  answerWith(rule: AnswerRule | ReceiverAnswer | number): void
  /** Everything whose signature verified, in order of arrival, whatever was answered. */
  readonly verified: readonly ReceivedDelivery[]
  /** Everything else; it was answered 401. */
  readonly refused: readonly ReceivedDelivery[]
  /** Resolves when the condition holds; looked at when something has arrived. */
  waitFor(condition: () => boolean, what: string, timeoutMs?: number): Promise<void>
  stop(): Promise<void>
}

export async function startWebhookReceiver({ port = 0 }: { port?: number } = {}): Promise<WebhookReceiver> {
  const secrets = new Map<string, Webhook>()
  const verified: ReceivedDelivery[] = []
  const refused: ReceivedDelivery[] = []
  const counts = new Map<string, number>()
  const waiting = new Set<() => void>()
  const timers = new Set<NodeJS.Timeout>()
  let rule: AnswerRule = () => 200

  const server = createServer((request, response) => {
    receive(request, response).catch(() => response.destroy())
  })
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`

  return {
    url: `${base}/hook`,
    at: (path) => base + path,
    trust: (secret) => void secrets.set(secret, new Webhook(secret)),
    distrust: (secret) => void secrets.delete(secret),
    answerWith(given) {
      rule = typeof given === 'function' ? given : () => given
    },
    verified,
    refused,
    waitFor,
    stop() {
      for (const timer of timers) clearTimeout(timer)
      server.closeAllConnections()
      return new Promise((resolve) => server.close(() => resolve()))
    },
  }

  async function receive(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const delivery = read(request, await textOf(request))
    const isVerified = delivery.verifiedBy.length > 0
    ;(isVerified ? verified : refused).push(delivery)
    answer(response, isVerified ? rule(delivery) : 401)
    for (const look of waiting) look()
  }

  function read(request: IncomingMessage, body: string): ReceivedDelivery {
    const headers = Object.fromEntries(Object.entries(request.headers).map(([name, value]) => [name, String(value)]))
    const id = headers['webhook-id'] ?? ''
    const path = request.url ?? '/'
    const count = (counts.get(`${path} ${id}`) ?? 0) + 1
    counts.set(`${path} ${id}`, count)
    const verifiedBy = [...secrets].flatMap(([secret, webhook]) => (verifies(webhook, body, headers) ? [secret] : []))
    return { id, path, headers, body, payload: JSON.parse(body) as WebhookPayload, verifiedBy, count }
  }

  function answer(response: ServerResponse, given: ReceiverAnswer | number): void {
    const { status, headers = {}, body = '', afterMs = 0 } = typeof given === 'number' ? { status: given } : given
    const send = () => response.writeHead(status, headers).end(body)
    if (afterMs === 0) send()
    else if (Number.isFinite(afterMs)) timers.add(setTimeout(send, afterMs))
  }

  function waitFor(condition: () => boolean, what: string, timeoutMs = 60_000): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        waiting.delete(look)
        reject(new Error(`the webhook receiver waited ${timeoutMs} ms in vain: ${what}`))
      }, timeoutMs)
      const look = (): void => {
        if (!condition()) return
        waiting.delete(look)
        clearTimeout(timer)
        resolve()
      }
      waiting.add(look)
      look()
    })
  }
}

function verifies(webhook: Webhook, body: string, headers: Record<string, string>): boolean {
  try {
    webhook.verify(body, headers)
    return true
  } catch {
    return false
  }
}

async function textOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString('utf8')
}
