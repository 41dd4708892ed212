/** `mirante listen`: the developer's machine gets every event, whatever dies in between. */
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { newSecret } from '../../src/features/webhooks/signature.js'
import { commandRunner, jsonLines } from '../support/command.js'
import { createEmptyDatabase } from '../support/database.js'
import {
  freePort,
  launchMirante,
  launchSimulator,
  type MiranteProcess,
  type SimulatorProcess,
  TEST_API_KEY,
} from '../support/launch.js'
import { pairByQr } from '../support/pair.js'
import { startWebhookReceiver, type WebhookReceiver } from '../support/webhook-receiver.js'

const OWNER = '5511987654321'
const CONTACT = '5511912345678'

let database: Awaited<ReturnType<typeof createEmptyDatabase>>
let simulator: SimulatorProcess
let product: MiranteProcess
const receivers: WebhookReceiver[] = []
const mirante = commandRunner(() => ({ MIRANTE_URL: product.url, MIRANTE_API_KEY: TEST_API_KEY }))

beforeAll(async () => {
  database = await createEmptyDatabase()
  simulator = await launchSimulator(['--latency-ms', '10'])
  product = await launchMirante({ simulator, env: { DATABASE_URL: database.url } })
  await simulator.admin('POST', '/admin/contacts', { phones: [CONTACT] })
  await pairByQr(product, simulator, 'support', OWNER)
})

afterEach(async () => {
  mirante.stopAll()
  await Promise.all(receivers.splice(0).map((receiver) => receiver.stop()))
})

afterAll(async () => {
  await product?.stop()
  await simulator?.stop()
  await database?.drop()
})

async function receiverOn(port: number, secret: string): Promise<WebhookReceiver> {
  const receiver = await startWebhookReceiver({ port })
  receiver.trust(secret)
  receivers.push(receiver)
  return receiver
}

const write = (text: string) => simulator.admin('POST', `/admin/contacts/${CONTACT}/send`, { to: OWNER, text })

const textsOf = (receiver: WebhookReceiver): string[] =>
  receiver.verified.map(({ payload }) => payload.data.text.body as string)

test('each event is posted with a signature of the secret that was shown, and told in a line', async () => {
  const receiver = await startWebhookReceiver()
  receivers.push(receiver)
  const listen = mirante('listen', '--forward-to', receiver.url, '--events=message.received')
  const [, secret = ''] = await listen.complains(/^Signing secret: (whsec_\S+)$/m)
  receiver.trust(secret)
  await write('signed?')
  await receiver.waitFor(() => receiver.verified.length === 1, 'the event, signed')
  expect(textsOf(receiver)).toEqual(['signed?'])
  await listen.says(/^\d\d:\d\d:\d\d {2}message\.received {2}msg_\w+ {2}.*→ 200 {2}\d+ ms$/m)
  receiver.answerWith(500)
  await write('refused')
  await listen.says(/→ 500 {2}\d+ ms$/m)
  listen.interrupt()
  const { code, stderr } = await listen.ended
  expect(code).toBe(0)
  expect(stderr).toMatch(/^2 events, 1 not answered with 2xx\. To go on from here: --after \d+$/m)
})

test('nothing is lost or doubled while the local server is down, nor over a kill -9 of all of Mirante', async () => {
  const [port, secret] = [await freePort(), newSecret()]
  const url = `http://127.0.0.1:${port}/hook`
  const listen = mirante('listen', '--forward-to', url, '--secret', secret, '--events=message.received', '--json')
  await listen.complains(/^Listening to/m)

  await write('one')
  await listen.complains(/^Nobody answers at .*ECONNREFUSED/m)
  await write('two')
  product.killAll()
  await write('three, while nobody listens')
  const receiver = await receiverOn(port, secret)
  await listen.complains(/answers again/)
  await listen.complains(/^The connection to Mirante broke/m)
  await product.restart()
  await listen.complains(/^Connected again/m)
  await write('four')
  await receiver.waitFor(() => receiver.verified.length >= 4, 'all four')
  await listen.says(/"four"/)

  expect(textsOf(receiver)).toEqual(['one', 'two', 'three, while nobody listens', 'four'])
  expect(receiver.refused).toEqual([])
  listen.interrupt()
  const { code, stdout } = await listen.ended
  expect(code).toBe(0)
  const lines = jsonLines<{ sequence: number; forwarded: { status: number; attempts: number } }>(stdout)
  expect(lines).toHaveLength(4)
  expect(lines[0]?.forwarded).toMatchObject({ status: 200 })
  expect(lines[0]?.forwarded.attempts).toBeGreaterThan(1)
})

test('without a place to forward to it shows the events; --after begins where an earlier one has ended', async () => {
  const first = mirante('listen', '--instance=support', '--events=message.received')
  await first.complains(/^Listening to/m)
  await write('look at me')
  await first.says(/"body": "look at me"/)
  first.interrupt()
  const [, after = ''] = /--after (\d+)/.exec((await first.ended).stderr) ?? []

  await write('missed')
  await write('missed too')
  const second = mirante('listen', `--after=${after}`, '--events=message.received', '--json')
  await second.says(/missed too/)
  second.interrupt()
  const shown = jsonLines<{ data: { text: { body: string } } }>((await second.ended).stdout)
  expect(shown.map(({ data }) => data.text.body)).toEqual(['missed', 'missed too'])
})

test('--after=0 begins with the first event there is', async () => {
  const listen = mirante('listen', '--after=0', '--json')
  await listen.says(/"look at me"/)
  listen.interrupt()
  const shown = jsonLines<{ sequence: number }>((await listen.ended).stdout).map(({ sequence }) => sequence)
  const { body } = await product.api('GET', '/api/events?limit=200')
  const kept = body.data.map(({ sequence }: { sequence: number }) => sequence)
  expect(shown.length).toBeGreaterThan(5)
  expect(shown).toEqual(kept.slice(0, shown.length))
})

test('what can never work is said at once: a wrong key, a type that there is not, no server', async () => {
  expect(await mirante('listen', '--key=wrong').ended).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('(unauthenticated)'),
  })
  expect(await mirante('listen', '--events=message.recieved').ended).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('message.received'),
  })
  expect(await mirante('listen', '--url=http://127.0.0.1:9').ended).toMatchObject({
    code: 3,
    stderr: expect.stringContaining('does not answer'),
  })
})
