/**
 * Mirante on a machine with nothing: a server of its own, a simulated WhatsApp, a phone that scans the QR, messages both
 * ways, their ticks and their webhooks, told as they happen. Nothing of it touches another Mirante or the real WhatsApp.
 */
import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { createLogger } from '../../platform/observability/logger.js'
import { readConfig } from '../config.js'
import { EXIT, type ExitCode } from '../exit-codes.js'
import { guardProcess } from '../process-guard.js'
import { allRoles } from '../roles.js'
import { createMirante } from '../start-mirante.js'
import { onStopSignal } from '../stop-signals.js'
import type { Supervisor } from '../supervisor.js'
import { type ApiClient, createApiClient } from './api-client.js'
import { createTeller, type Teller } from './demo-teller.js'
import { type Story, startDemoWorld, tellHowToGoOn } from './demo-world.js'
import { printJson } from './terminal.js'

interface DemoArgs {
  readonly once?: boolean | undefined
  readonly json?: boolean | undefined
  readonly port?: string | undefined
  readonly 'data-dir'?: string | undefined
  readonly 'database-url'?: string | undefined
}

interface Instance {
  readonly id: string
  readonly connectionStatus: string
}

interface Message {
  readonly id: string
  readonly status: (typeof ticks)[number][0] | 'failed' | 'unknown'
}

const STEP_LIMIT_MS = 60_000
const LOOK_EVERY_MS = 50
/** In the order in which a message goes through them. */
const ticks = [
  ['queued', '◷ queued     Mirante has it, durably'],
  ['sending', '◷ sending'],
  ['sent', "✓ sent       WhatsApp's server has it"],
  ['delivered', '✓✓ delivered the phone has it'],
  ['read', '✓✓ read      and its owner saw it'],
] as const

export async function demo(args: DemoArgs): Promise<ExitCode> {
  const say = createTeller(args.json ? process.stderr : process.stdout)
  const temporary = args['data-dir'] === undefined ? mkdtempSync(join(tmpdir(), 'mirante-demo-')) : undefined
  const interrupted = untilInterrupted()
  const world = await startDemoWorld()
  let supervisor: Supervisor | undefined
  try {
    supervisor = supervise(args, temporary, world)
    const playing = play({ supervisor, world, say })
    const ended = await Promise.race([playing, interrupted])
    if (ended !== 'interrupted' && args.json) printJson({ ...ended, simulator: world.adminUrl, contact: world.contact })
    if (ended !== 'interrupted' && !args.once) {
      tellHowToGoOn(ended, world, say)
      await interrupted
    }
    return EXIT.done
  } finally {
    say.step('Stopping')
    await supervisor?.stop()
    await world.stop()
    if (temporary) rmSync(temporary, { recursive: true, force: true })
  }
}

type World = Awaited<ReturnType<typeof startDemoWorld>>

function supervise(args: DemoArgs, temporary: string | undefined, world: World): Supervisor {
  const flags = {
    HOST: '127.0.0.1',
    PORT: args.port,
    DATABASE_URL: args['database-url'],
    SESSION_STORAGE_PATH: args['data-dir'] ?? temporary,
    LOG_LEVEL: 'error',
    EGRESS_ALLOW: '127.0.0.1/32',
    WHATSAPP_WEB_URL: world.whatsappUrl,
    WHATSAPP_ROOT_KEY: world.rootKey,
  }
  // An environment that configures a real Mirante must not reach the demo's.
  const config = readConfig(flags, {})
  const supervisor = createMirante({
    config,
    roles: allRoles,
    single: false,
    logger: createLogger(config),
    onFinal(message) {
      process.stderr.write(`${message}\n`)
      process.kill(process.pid, 'SIGTERM')
    },
  })
  guardProcess(() => supervisor.kill())
  return supervisor
}

async function play({ supervisor, world, say }: { supervisor: Supervisor; world: World; say: Teller }): Promise<Story> {
  say.step('Starting Mirante on a database of its own')
  const { url, newApiKey: key } = await supervisor.start()
  if (!url || !key)
    throw new Error('The demo needs a database without API keys: leave out --data-dir, or name a new one.')
  const client = createApiClient(url, key)
  say.fact(`API ${url}/api, docs ${url}/docs`)

  say.step('A webhook endpoint, whose deliveries are verified by their signature')
  const endpoint = await client.post<{ secret: string }>('/api/webhooks', { url: world.webhookUrl })
  world.onWebhook(endpoint.secret, (line) => say.aside(line))

  say.step('An instance; a simulated phone scans its QR')
  const instance = await client.post<Instance>('/api/instances', { name: 'demo' })
  const { qr } = await client.get<{ qr: { code: string } }>(`/api/instances/${instance.id}/qr`)
  const phone = world.scanQr(qr.code)
  await until(
    async () => (await client.get<Instance>(`/api/instances/${instance.id}`)).connectionStatus === 'CONNECTED',
  )
  say.fact(`+${phone} is connected as ${instance.id}`)

  say.step(`A text to +${world.contact}`)
  await sendAndWatch(client, say, { instanceId: instance.id, to: `+${world.contact}`, text: 'Olá! Is anybody there?' })

  say.step(`+${world.contact} answers`)
  await world.answer(phone, 'Tudo bem! Here I am.')
  await world.heard('message.received')
  return { url, key, phone }
}

async function sendAndWatch(
  client: ApiClient,
  say: Teller,
  { text, ...address }: { instanceId: string; to: string; text: string },
): Promise<void> {
  const body = { ...address, type: 'text', text: { body: text } }
  let message = await client.post<Message>('/api/messages', body, randomUUID())
  let told = 0
  await until(async () => {
    const { status } = message
    if (status === 'failed' || status === 'unknown') throw new Error(`The message ended as ${status}.`)
    // A look may come after more than one tick: each that the message has passed is told.
    const passed = ticks.findIndex(([name]) => name === status) + 1
    for (const [, tick] of ticks.slice(told, passed)) say.fact(tick)
    told = Math.max(told, passed)
    if (status === 'read') return true
    message = await client.get<Message>(`/api/messages/${message.id}`)
    return false
  })
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + STEP_LIMIT_MS
  while (!(await condition())) {
    if (performance.now() > deadline)
      throw new Error('The demo waited a minute for its next step, and it did not come.')
    await delay(LOOK_EVERY_MS)
  }
}

function untilInterrupted(): Promise<'interrupted'> {
  return new Promise((resolve) => {
    onStopSignal({
      first: () => resolve('interrupted'),
      // The children end with this process.
      second: () => process.exit(EXIT.failed),
    })
  })
}
