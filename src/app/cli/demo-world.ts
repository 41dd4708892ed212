/** Everything around Mirante in the demo: the simulated WhatsApp with its people, and the receiver of webhooks. */
import { createHmac, timingSafeEqual } from 'node:crypto'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { startSimulator } from '../../../simulator/index.js'
import type { Teller } from './demo-teller.js'

export interface DemoWorld {
  readonly whatsappUrl: string
  readonly rootKey: string
  readonly adminUrl: string
  readonly webhookUrl: string
  /** Digits of the person whom the demo writes to; reads what it gets. */
  readonly contact: string
  /** A phone scans this QR; its digits. */
  scanQr(code: string): string
  /** The contact writes to this phone. */
  answer(phone: string, text: string): Promise<void>
  /** From now on each delivery is checked against the secret and told. */
  onWebhook(secret: string, tell: (line: string) => void): void
  /** Resolves when an event of the type was delivered with a right signature. */
  heard(type: string): Promise<void>
  stop(): Promise<void>
}

const CONTACT = '5511912345678'
/** Delays that a person can follow. */
const LATENCY_MS = 120
const READ_DELAY_MS = 700

export async function startDemoWorld(): Promise<DemoWorld> {
  const simulator = await startSimulator({ port: 0, latencyMs: LATENCY_MS })
  simulator.phones.createContacts({
    phones: [CONTACT],
    name: 'Ana',
    habits: { receipts: 'read', readDelayMs: READ_DELAY_MS },
  })
  const receiver = await startReceiver()
  return {
    whatsappUrl: simulator.wsUrl,
    rootKey: simulator.rootPublicKeyHex,
    adminUrl: `${simulator.httpUrl}/admin`,
    webhookUrl: receiver.url,
    contact: CONTACT,
    scanQr(code) {
      const scanned = simulator.phones.scanQr(code)
      if ('refused' in scanned) throw new Error(`The simulated phone refused the QR: ${scanned.refused}`)
      return scanned.phone
    },
    async answer(phone, text) {
      await simulator.phones.send(CONTACT, phone, text)
    },
    onWebhook: receiver.begin,
    heard: receiver.heard,
    async stop() {
      receiver.stop()
      await simulator.stop()
    },
  }
}

/** What the demo knows when its story is over. */
export interface Story {
  readonly url: string
  readonly key: string
  readonly phone: string
}

export function tellHowToGoOn({ url, key, phone }: Story, world: DemoWorld, say: Teller): void {
  say.step('Now you. Everything stays up until Ctrl-C')
  say.plain(`
export MIRANTE_URL=${url}
export MIRANTE_API_KEY=${key}
export SIMULATOR=${world.adminUrl}
export DEMO_PHONE=${phone}

  With these lines in another terminal:
  # Follow everything that happens; --forward-to http://localhost:4000/ posts it to a server of yours:
  node dist/src/main.js listen
  # Write to Ana, and look at the ticks of what you wrote:
  node dist/src/main.js send demo +${world.contact} 'Hello again'
  curl -s "$MIRANTE_URL/api/messages?limit=5" -H "Authorization: Bearer $MIRANTE_API_KEY"
  # Ana writes to you:
  curl -s $SIMULATOR/contacts/${world.contact}/send -d '{"to":"'$DEMO_PHONE'","text":"Oi!"}'
  # A bot that answers her, in ten minutes: docs/first-bot.md. All routes: ${url}/docs
`)
}

interface Receiver {
  readonly url: string
  begin(secret: string, tell: (line: string) => void): void
  heard(type: string): Promise<void>
  stop(): void
}

async function startReceiver(): Promise<Receiver> {
  const heard = new Set<string>()
  const waiting = new Map<string, () => void>()
  let secret = ''
  let tell: (line: string) => void = () => {}

  const server = createServer((request, response) => {
    void readBody(request).then((body) => {
      const genuine = isSigned(secret, request, body)
      response.writeHead(genuine ? 204 : 401).end()
      const { type, data } = JSON.parse(body) as { type: string; data: Record<string, unknown> }
      tell(`webhook ${type} ${describe(data)} · signature ${genuine ? 'valid' : 'WRONG'}`)
      if (!genuine) return
      heard.add(type)
      waiting.get(type)?.()
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/webhook`,
    begin(endpointSecret, teller) {
      secret = endpointSecret
      tell = teller
    },
    heard: (type) => (heard.has(type) ? Promise.resolve() : new Promise((resolve) => waiting.set(type, resolve))),
    stop() {
      server.close()
      server.closeAllConnections()
    },
  }
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk)
  return Buffer.concat(chunks).toString('utf8')
}

/** Standard Webhooks, as a receiver has to do it: HMAC over id, timestamp and the bytes of the body. */
function isSigned(secret: string, { headers }: IncomingMessage, body: string): boolean {
  const key = Buffer.from(secret.replace('whsec_', ''), 'base64')
  const signed = `${headers['webhook-id']}.${headers['webhook-timestamp']}.${body}`
  const expected = createHmac('sha256', key).update(signed).digest()
  return String(headers['webhook-signature'])
    .split(' ')
    .map((entry) => Buffer.from(entry.replace('v1,', ''), 'base64'))
    .some((given) => given.length === expected.length && timingSafeEqual(given, expected))
}

function describe(data: Readonly<Record<string, unknown>>): string {
  const text = (data.text as { body?: unknown } | undefined)?.body
  const words = [data.connectionStatus ?? data.id, typeof text === 'string' ? `“${text}”` : undefined]
  return words.filter((word) => typeof word === 'string').join(' ')
}
