/** WhatsApp restricts a number (463): messages to strangers wait until it ends, everything else goes on. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { createEmptyDatabase } from '../support/database.js'
import { eventually } from '../support/eventually.js'
import { launchMirante, launchSimulator, type MiranteProcess, type SimulatorProcess } from '../support/launch.js'
import { pairByQr } from '../support/pair.js'

const ACCOUNT = '5511987650463'
const [ANA, BIA, CAI, DUDA, EVA] = ['5511955550001', '5511955550002', '5511955550003', '5511955550004', '5511955550005']

let database: Awaited<ReturnType<typeof createEmptyDatabase>>
let simulator: SimulatorProcess
let product: MiranteProcess
let instanceId: string

beforeAll(async () => {
  database = await createEmptyDatabase()
  simulator = await launchSimulator(['--latency-ms', '5'])
  product = await launchMirante({ simulator, env: { DATABASE_URL: database.url }, flags: ['--single'] })
  await simulator.admin('POST', '/admin/contacts', { phones: [ANA, BIA, CAI, DUDA] })
  await simulator.admin('POST', '/admin/contacts', { phones: [EVA], givesTokens: false })
  instanceId = await pairByQr(product, simulator, 'forward', ACCOUNT)
  await simulator.admin('POST', `/admin/contacts/${ANA}/send`, { to: ACCOUNT, text: 'hello' })
  await eventually(async () => (await inbound(ANA)) > 0, 'Ana has written')
})
afterAll(async () => {
  await product?.stop()
  await simulator?.stop()
  await database?.drop()
})

async function inbound(phone: string): Promise<number> {
  const { body } = await product.api('GET', `/api/messages?instanceId=${instanceId}&status=received`)
  return body.data.filter(({ chat }: { chat: { phone: string } }) => chat.phone === `+${phone}`).length
}

async function send(phone: string, body: string): Promise<string> {
  const message = { instanceId, to: `+${phone}`, type: 'text', text: { body } }
  return (await product.api('POST', '/api/messages', { body: message })).body.id
}

const read = async (id: string) => (await product.api('GET', `/api/messages/${id}`)).body
const isHeld = (id: string) => eventually(async () => (await read(id)).holdReason === 'restricted', `${id} is held`)
const hasLeft = (id: string) =>
  eventually(async () => ['sent', 'delivered', 'read'].includes((await read(id)).status), `${id} has left`)

const refusals = async (): Promise<number> => {
  const { entries } = await simulator.admin<{ entries: { attrs: { error?: string } }[] }>(
    'GET',
    '/admin/trace?tag=ack&direction=out&limit=100000',
  )
  return entries.filter(({ attrs }) => attrs.error === '463').length
}

it('holds what is cold, sends what is warm, and lets go who warms up', async () => {
  await simulator.admin('POST', `/admin/accounts/${ACCOUNT}/restrict`, { seconds: 3_600 })
  const first = await send(BIA, 'cold')
  await isHeld(first)
  expect(await read(first)).toMatchObject({ status: 'queued', error: null })
  const { restrictedUntil } = (await product.api('GET', `/api/instances/${instanceId}`)).body
  expect(Date.parse(restrictedUntil)).toBeGreaterThan(Date.now())
  const { body: events } = await product.api('GET', `/api/events?types=instance.restricted`)
  expect(events.data).toMatchObject([{ data: { instanceId, until: restrictedUntil } }])

  const second = await send(CAI, 'cold too')
  await isHeld(second)
  await hasLeft(await send(ANA, 'warm'))
  // WhatsApp was asked once; each further try would make it worse.
  expect(await refusals()).toBe(1)

  await simulator.admin('POST', `/admin/contacts/${BIA}/send`, { to: ACCOUNT, text: 'who are you?' })
  await hasLeft(first)
  expect(await read(first)).toMatchObject({ holdReason: null })
  expect((await read(second)).status).toBe('queued')
})

it('believes WhatsApp more than its own history, and asks once', async () => {
  const before = await refusals()
  await simulator.admin('POST', `/admin/contacts/${EVA}/send`, { to: ACCOUNT, text: 'hello' })
  await eventually(async () => (await inbound(EVA)) > 0, 'Eva has written')
  const id = await send(EVA, 'hello you')
  await eventually(async () => (await refusals()) > before, 'WhatsApp refuses who shows no token')
  await isHeld(id)
  // The number goes on, and what it was refused is not tried again by and by.
  await hasLeft(await send(ANA, 'meanwhile'))
  expect(await refusals()).toBe(before + 1)
  await simulator.admin('POST', '/admin/contacts', { phones: [EVA], givesTokens: true })
  await simulator.admin('POST', `/admin/contacts/${EVA}/send`, { to: ACCOUNT, text: 'are you there?' })
  await hasLeft(id)
  expect(await refusals()).toBe(before + 1)
})

it('lets go, after a restart, who gave a token meanwhile', async () => {
  const id = await send(DUDA, 'cold again')
  await isHeld(id)
  await product.api('POST', `/api/instances/${instanceId}/disable`)
  await eventually(async () => !(await simulator.admin<Account>('GET', `/admin/accounts/${ACCOUNT}`)).online, 'away')
  await simulator.admin('POST', `/admin/contacts/${DUDA}/send`, { to: ACCOUNT, text: 'who was that?' })
  await product.api('POST', `/api/instances/${instanceId}/enable`)
  await hasLeft(id)
})
interface Account {
  readonly online: boolean
}

it('goes on by itself when the time is over', async () => {
  const other = '5511987650464'
  const id = await pairByQr(product, simulator, 'brief', other)
  await simulator.admin('POST', `/admin/accounts/${other}/restrict`, { seconds: 6 })
  const body = { instanceId: id, to: `+${DUDA}`, type: 'text', text: { body: 'after a while' } }
  const message = (await product.api('POST', '/api/messages', { body })).body.id
  await hasLeft(message)
  expect(await read(message)).toMatchObject({ holdReason: null })
})
