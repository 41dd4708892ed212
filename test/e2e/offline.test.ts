/** What people write while a number is away arrives once each when it is back, and the gap report says that nothing is missing. */
import { afterEach, beforeEach, expect, it } from 'vitest'
import { type Simulator, startSimulator } from '../../simulator/index.js'
import { createTestDatabase, type TestDatabase } from '../support/database.js'
import { eventually } from '../support/eventually.js'
import { launchMirante, type MiranteProcess } from '../support/launch.js'
import { connected } from '../support/pair.js'

const ACCOUNT = '5511999990031'
const PEOPLE = 5
const EACH = 200

let simulator: Simulator
let database: TestDatabase
let mirante: MiranteProcess

beforeEach(async () => {
  simulator = await startSimulator()
  database = await createTestDatabase()
  mirante = await launchMirante({ simulator, env: { DATABASE_URL: database.url } })
})
afterEach(async () => {
  await mirante.stop()
  await database.drop()
  await simulator.stop()
})

it('1,000 messages that waited at WhatsApp arrive once each, in the order of each person, and none is missing', async () => {
  const id = await paired()
  await mirante.api('POST', `/api/instances/${id}/disable`)
  await eventually(() => connectionCount() === 0, 'it is away')
  const people = simulator.phones.createContacts({ count: PEOPLE }).map(({ phone }) => phone)
  const sent = await Promise.all(
    people.map((person) => simulator.phones.send(person, ACCOUNT, 'while you were away', { count: EACH })),
  )
  const before = (await reports()).length
  await mirante.api('POST', `/api/instances/${id}/enable`)
  await eventually(async () => (await reports()).length > before, 'the gap is reported')
  expect((await reports()).at(-1)).toEqual({
    instanceId: id,
    announced: PEOPLE * EACH,
    received: PEOPLE * EACH,
    stored: PEOPLE * EACH,
    unreadable: 0,
    missing: 0,
  })
  const stored = await inbound()
  expect(stored.length).toBe(PEOPLE * EACH)
  for (const [index, person] of people.entries()) {
    const ofPerson = stored.filter(({ chat }) => chat.waId === person).map(({ whatsappId }) => whatsappId)
    expect(ofPerson).toEqual(sent[index])
  }
  expect(simulator.verdict(ACCOUNT)).toMatchObject({ reusedRatchetCounters: 0 })
})

async function paired(): Promise<string> {
  const { body } = await mirante.api('POST', '/api/instances', { body: { name: 'mine' } })
  const shown = await mirante.api('GET', `/api/instances/${body.id}/qr`)
  simulator.phones.scanQr(shown.body.qr.code, ACCOUNT)
  await connected(mirante, body.id)
  return body.id
}

const connectionCount = (): number =>
  [...(simulator.world.find(ACCOUNT)?.companions.values() ?? [])].filter(({ connection }) => connection).length

async function reports(): Promise<Record<string, unknown>[]> {
  const { body } = await mirante.api('GET', '/api/events?types=instance.caught_up')
  return body.data.map(({ data }: { data: Record<string, unknown> }) => data)
}

interface Stored {
  readonly whatsappId: string
  readonly chat: { readonly waId: string }
}

/** The oldest first. */
async function inbound(): Promise<Stored[]> {
  const all: Stored[] = []
  let cursor: string | null = ''
  while (cursor !== null) {
    const { body } = await mirante.api(
      'GET',
      `/api/messages?direction=inbound&limit=200${cursor && `&cursor=${cursor}`}`,
    )
    all.push(...body.data)
    cursor = body.nextCursor
  }
  return all.toReversed()
}
