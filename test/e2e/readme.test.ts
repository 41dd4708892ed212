/** The README's lines, run as they stand: only the addresses are those of processes that the test has started. */
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createEmptyDatabase } from '../support/database.js'
import { launchMirante, launchSimulator, type MiranteProcess, type SimulatorProcess } from '../support/launch.js'
import { startWebhookReceiver, type WebhookReceiver } from '../support/webhook-receiver.js'

const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8')

let database: Awaited<ReturnType<typeof createEmptyDatabase>>
let simulator: SimulatorProcess
let receiver: WebhookReceiver
let mirante: MiranteProcess

beforeAll(async () => {
  database = await createEmptyDatabase()
  simulator = await launchSimulator()
  receiver = await startWebhookReceiver()
  mirante = await launchMirante({
    simulator,
    env: { ...exported(readme), WHATSAPP_WEB_URL: simulator.wsUrl, DATABASE_URL: database.url },
  })
})

afterAll(async () => {
  await mirante?.stop()
  await receiver?.stop()
  await simulator?.stop()
  await database?.drop()
})

test("the simulator's root key is the one in the README", () => {
  expect(exported(readme).WHATSAPP_ROOT_KEY).toBe(simulator.rootPublicKeyHex)
})

test('an instance is created, scanned, written to and answered, with curl alone', async () => {
  const { code, output } = await bash(shellBlock(readme))
  expect(output).toContain('"status":"read"')
  expect(code).toBe(0)

  const isReply = () =>
    receiver.verified.some(
      ({ payload }) => payload.type === 'message.received' && payload.data.text.body === 'Tudo bem!',
    )
  await receiver.waitFor(isReply, 'the answer, signed')
})

/** The `export` lines, but for the addresses. */
function exported(text: string): Record<string, string> {
  return Object.fromEntries(
    [...text.matchAll(/^export (\w+)=(.*)$/gm)].map(([, name, value]) => [name ?? '', value ?? '']),
  )
}

function shellBlock(text: string): string {
  const block = /```sh\n([\s\S]*?)```/.exec(text)?.[1] ?? ''
  const replaced = block
    .replace('http://127.0.0.1:3000', mirante.url)
    .replace('http://127.0.0.1:3999', simulator.httpUrl)
    .replace('http://127.0.0.1:4000/hook', receiver.url)
  expect(replaced).not.toMatch(/127\.0\.0\.1:(3000|3999|4000)/)
  return replaced
}

/** Trusts the endpoint's secret as soon as it is printed: before anything happens that could be delivered. */
function bash(script: string): Promise<{ code: number | null; output: string }> {
  const child = spawn('timeout', ['90', 'bash', '-e', '-u', '-c', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  let output = ''
  child.stdout.on('data', (data) => {
    output += String(data)
    const secret = /whsec_[\w+/=-]+/.exec(output)?.[0]
    if (secret) receiver.trust(secret)
  })
  return new Promise((resolve) => child.once('close', (code) => resolve({ code, output })))
}
