/** What becomes of a message to a group: delivered, read and played when it is so of everybody in it, as WhatsApp shows it. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createEmptyDatabase } from '../support/database.js'
import { eventually as eventuallyWithin } from '../support/eventually.js'
import { launchMirante, launchSimulator, type MiranteProcess, type SimulatorProcess } from '../support/launch.js'
import { pairByQr } from '../support/pair.js'

const ACCOUNT = '5511999990011'
const [ANA, BIA, CAI] = ['5511955550011', '5511955550012', '5511955550013'] as const
let database: Awaited<ReturnType<typeof createEmptyDatabase>>
let simulator: SimulatorProcess
let mirante: MiranteProcess
let instanceId: string
let group: { readonly id: string; readonly jid: string }

beforeAll(async () => {
  database = await createEmptyDatabase()
  simulator = await launchSimulator(['--latency-ms', '5', '--strict'])
  mirante = await launchMirante({ simulator, env: { DATABASE_URL: database.url, LOG_LEVEL: 'error' } })
  await simulator.admin('POST', '/admin/contacts', { phones: [ANA, BIA, CAI], receipts: 'none' })
  instanceId = await pairByQr(mirante, simulator, 'receipts', ACCOUNT)
}, 60_000)
afterAll(async () => {
  await mirante?.stop()
  await simulator?.stop()
  await database?.drop()
})

describe.each(['lid', 'pn'] as const)('in a group that addresses people by %s', (addressing) => {
  beforeAll(async () => {
    const members = [ANA, BIA, ACCOUNT]
    group = await simulator.admin('POST', '/admin/groups', { subject: 'Team', creator: ANA, members, addressing })
  })

  it('a text is delivered and read when the last of them has it, and each is told apart meanwhile', async () => {
    const sent = await send({ type: 'text', text: { body: 'oi' } })
    await reaches(sent, 'sent')
    await give(ANA, sent, 'read')
    await eventually(async () => (await recipients(sent))[ANA]?.read === true, 'her receipt')
    expect(await recipients(sent)).toEqual({
      [ANA]: { delivered: true, read: true, played: false },
      [BIA]: { delivered: false, read: false, played: false },
    })
    expect((await message(sent)).status).toBe('sent')
    await give(BIA, sent, 'delivered')
    await reaches(sent, 'delivered')
    await give(BIA, sent, 'read')
    const { statusAt } = await reaches(sent, 'read')
    expect(statusAt).toMatchObject({ delivered: expect.any(String), read: expect.any(String), played: null })
    expect((await trace(sent)).steps.map(({ step }: Any) => step).slice(-3)).toEqual([
      'acknowledged',
      'delivered',
      'read',
    ])
  })

  it('is played when all have listened', async () => {
    // To WhatsApp a receipt is a receipt, whatever the message is: a text will do.
    const sent = await send({ type: 'text', text: { body: 'as if spoken' } })
    await reaches(sent, 'sent')
    await give(ANA, sent, 'played')
    await give(BIA, sent, 'read')
    await reaches(sent, 'read')
    expect(await recipients(sent)).toMatchObject({ [ANA]: { played: true }, [BIA]: { read: true, played: false } })
    await give(BIA, sent, 'played')
    await reaches(sent, 'played')
  })

  it('receipts that come gathered count as each alone', async () => {
    const both = [await send({ type: 'text', text: { body: '1' } }), await send({ type: 'text', text: { body: '2' } })]
    for (const sent of both) await reaches(sent, 'sent')
    const body = { to: ACCOUNT, phones: [ANA, BIA], ids: both.map(({ whatsappId }) => whatsappId), type: 'read' }
    await simulator.admin('POST', `/admin/groups/${group.id}/receipts`, body)
    for (const sent of both) await reaches(sent, 'read')
  })

  it('a text that was written on the phone is followed, too', async () => {
    const { id } = await simulator.admin<{ id: string }>('POST', `/admin/accounts/${ACCOUNT}/send`, {
      ...{ group: group.id, text: `from the phone ${addressing}` },
    })
    // At once: before the message itself may be here.
    const body = { to: ACCOUNT, phones: [ANA], ids: [id], type: 'read' }
    await simulator.admin('POST', `/admin/groups/${group.id}/receipts`, body)
    const written = () => list().then((all) => all.find(({ whatsappId }) => whatsappId === id))
    await eventually(async () => (await written()) !== undefined, 'the message')
    const sent = await written()
    await eventually(
      async () => (await recipients(sent))[ANA]?.read === true && BIA in (await recipients(sent)),
      'its recipients',
    )
    expect((await message(sent)).status).toBe('sent')
    await simulator.admin('POST', `/admin/groups/${group.id}/receipts`, { ...body, phones: [BIA] })
    await reaches(sent, 'read')
  })

  it('who came later does not hold up what was sent before', async () => {
    const sent = await send({ type: 'text', text: { body: 'before' } })
    await reaches(sent, 'sent')
    await simulator.admin('POST', `/admin/groups/${group.id}/members`, { change: 'add', phones: [CAI] })
    for (const phone of [ANA, BIA]) await give(phone, sent, 'read')
    await reaches(sent, 'read')
    await eventually(async () => {
      const next = await send({ type: 'text', text: { body: 'after' } })
      await reaches(next, 'sent')
      return CAI in (await recipients(next))
    }, 'the new member among the recipients')
  })
})

// Helpers

const eventually = (condition: () => Promise<boolean>, what: string) => eventuallyWithin(condition, what, 20_000)

// biome-ignore lint/suspicious/noExplicitAny: the shape of a view is what is being tested
type Any = any // oxlint-disable-line typescript/no-explicit-any

const message = async ({ id }: Any): Promise<Any> => (await mirante.api('GET', `/api/messages/${id}`)).body
const list = async (): Promise<Any[]> => (await mirante.api('GET', '/api/messages?limit=20')).body.data
const give = (phone: string, { whatsappId }: Any, type: string) =>
  eventually(
    () =>
      simulator.admin('POST', `/admin/contacts/${phone}/receipts`, { ids: [whatsappId], type }).then(
        () => true,
        () => false,
      ),
    `the phone of ${phone} to have it`,
  )

async function send(content: object): Promise<Any> {
  const answer = await mirante.api('POST', '/api/messages', { body: { instanceId, to: group.jid, ...content } })
  expect(answer).toMatchObject({ status: 202 })
  return answer.body
}

async function reaches(sent: Any, status: string): Promise<Any> {
  await eventually(async () => (await message(sent)).status === status, `the message to be ${status}`)
  return message(sent)
}

async function trace({ id }: Any): Promise<Any> {
  const { status, body } = await mirante.api('GET', `/api/messages/${id}/trace`)
  expect(status).toBe(200)
  return body
}

/** By number: what each of those did to whom the message went. Both addresses of each are known. */
async function recipients(sent: Any): Promise<Record<string, { delivered: boolean; read: boolean; played: boolean }>> {
  const all = (await trace(sent)).recipients as Any[]
  expect(all.every(({ lid, phone }) => lid && phone)).toBe(true)
  return Object.fromEntries(
    all.map(({ phone, deliveredAt, readAt, playedAt }) => [
      phone.slice(1),
      { delivered: deliveredAt !== null, read: readAt !== null, played: playedAt !== null },
    ]),
  )
}
