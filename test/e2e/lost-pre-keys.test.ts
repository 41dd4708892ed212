/**
 * A process that dies while it hands out new pre-keys: people then write with keys of which WhatsApp has one half, and we
 * may have lost the other.
 */
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { type Simulator, startSimulator } from '../../simulator/index.js'
import { createTestDatabase, type TestDatabase } from '../support/database.js'
import { eventually } from '../support/eventually.js'
import { launchMirante, type MiranteProcess } from '../support/launch.js'
import { connected } from '../support/pair.js'

const ACCOUNT = '5511999990023'
const crashProcess = fileURLToPath(new URL('../chaos/crash-process.ts', import.meta.url))

let simulator: Simulator
let database: TestDatabase
const running: MiranteProcess[] = []

beforeEach(async () => {
  simulator = await startSimulator()
  database = await createTestDatabase()
})
afterEach(async () => {
  for (const mirante of running.splice(0)) await mirante.stop()
  await database.drop()
  await simulator.stop()
})

it('reads with keys that were handed out just before it died, since they are durable before they leave', async () => {
  await dieHandingOutPreKeys([])
  const mirante = await live([])
  const [anna = ''] = contacts(1)
  await simulator.phones.send(anna, ACCOUNT, 'hello')
  await eventually(async () => (await received(mirante)).length === 1, 'it arrives')
  expect(await received(mirante)).toEqual([`${anna} hello`])
  expect(retriesOf(anna)).toEqual([0])
})

it('gets what was encrypted for a lost key in the end: it asks for it again, with a new key', async () => {
  await dieHandingOutPreKeys(['--loses-pre-keys'])
  const mirante = await live([])
  const [anna = '', bruno = ''] = contacts(2)
  await simulator.phones.send(anna, ACCOUNT, 'first')
  await simulator.phones.send(bruno, ACCOUNT, 'hello')
  await simulator.phones.send(anna, ACCOUNT, 'second')
  await eventually(async () => (await received(mirante)).length >= 3, 'all of them arrive')
  expect((await received(mirante)).toSorted()).toEqual([`${anna} first`, `${anna} second`, `${bruno} hello`].toSorted())
  expect(retriesOf(anna)[0]).toBeGreaterThan(0)
  await eventually(() => simulator.phones.sent(anna).every(({ state }) => state === 'delivered'), 'and are confirmed')
})

/** A new number is paired; the first upload of its pre-keys reaches the server, and that is the last thing that happens. */
async function dieHandingOutPreKeys(flags: readonly string[]): Promise<void> {
  const mirante = await live(flags)
  const { body } = await mirante.api('POST', '/api/instances', { body: { name: 'mine' } })
  const shown = await mirante.api('GET', `/api/instances/${body.id}/qr`)
  simulator.phones.scanQr(shown.body.qr.code, ACCOUNT)
  await eventually(isUploaded, 'pre-keys are uploaded')
  process.kill(mirante.pid, 'SIGKILL')
  await eventually(() => !mirante.alive, 'it is dead')
}

const isUploaded = (): boolean =>
  simulator.trace
    .read({ direction: 'in', tag: 'iq' })
    .some(({ attrs }) => attrs.xmlns === 'encrypt' && attrs.type === 'set')

async function live(flags: readonly string[]): Promise<MiranteProcess> {
  const mirante = await launchMirante({
    simulator,
    command: ['--import', 'tsx', crashProcess, ...flags],
    env: { DATABASE_URL: database.url, LEASE_TTL_MS: '15000', LOG_LEVEL: 'error' },
  })
  running.push(mirante)
  const { body } = await mirante.api('GET', '/api/instances')
  for (const { id } of body.data) await connected(mirante, id)
  return mirante
}

function contacts(count: number): string[] {
  return simulator.phones.createContacts({ count }).map(({ phone }) => phone)
}

async function received(mirante: MiranteProcess): Promise<string[]> {
  const { body } = await mirante.api('GET', '/api/messages?direction=inbound')
  return body.data.map((message: { chat: { waId: string }; text?: { body: string } }) => {
    return `${message.chat.waId} ${message.text?.body}`
  })
}

const retriesOf = (contact: string): number[] =>
  simulator.phones.sent(contact).map(({ copies }) => copies[0]?.retries ?? 0)
