import sql from 'sql-template-tag'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { until } from '../../../test/support/gateway.js'
import { type Connected, createGatewayWorld, type GatewayWorld } from '../../../test/support/gateway-world.js'
import { createTestServer, type TestServer } from '../../../test/support/http-server.js'
import { systemClock } from '../../kernel/clock.js'
import { type ContactId, createIdGenerator, publicId } from '../../kernel/ids.js'
import { silentLogger } from '../../kernel/logger.js'
import type { ConnectionEvent } from '../../platform/whatsapp/whatsapp.js'
import { createAddressBook } from '../contacts/address-book.js'
import { blockRoutes } from './block-routes.js'
import { createBlockKeeper } from './keep-blocks.js'

const ids = createIdGenerator()
let world: GatewayWorld
let http: TestServer
let number: Connected
let key: string
let ana: ContactId
let bia: ContactId

beforeAll(async () => {
  world = await createGatewayWorld()
})
beforeEach(async () => {
  await world.begin()
  const { db, tenantId } = world
  const blocks = createBlockKeeper({ db, ids, clock: systemClock, random: Math.random, logger: silentLogger })
  number = await world.connected({ attachments: [blocks] })
  http = await createTestServer({
    db,
    modules: () => [blockRoutes({ db, ids, news: number.gateway.news, deadlineMs: 30_000 })],
  })
  key = await http.newKey({ tenantId })
  const book = createAddressBook({ db, ids })
  ana = (await book.chatAt(tenantId, number.id, { waId: '5511900000001', lid: '41' })).contactId
  bia = (await book.chatAt(tenantId, number.id, { lid: '42' })).contactId
})
afterEach(async () => {
  await http.stop()
  await world.end()
})
afterAll(() => world.drop())

const instanceId = () => publicId('ins', number.id)
const ask = (verb: 'block' | 'unblock', contactId: string, body: object = { instanceId: instanceId() }) =>
  http.ask('POST', `/api/contacts/${contactId}/${verb}`, { key, body })

async function blocklist(): Promise<string[]> {
  const { json } = await http.ask('GET', `/api/instances/${instanceId()}/blocklist`, { key })
  return json.data.map(({ contact }: { contact: { id: string } }) => contact.id)
}

const changes = () =>
  world.db.query<{ contact: ContactId; reason: string }>(sql`
    select subject_id as contact, data ->> 'reason' as reason from event
    where instance_id = ${number.id} and type = 'contact.updated' and data ? 'instanceId' order by seq`)

const say = (event: Omit<Extract<ConnectionEvent, { type: 'blocks' }>, 'type'>): void =>
  number.connection.emit({ type: 'blocks', ...event })

describe('blocking', () => {
  it('is done by the holder and kept, each change told once', async () => {
    const contactId = publicId('con', ana)
    for (let time = 0; time < 2; time++) {
      expect(await ask('block', contactId)).toMatchObject({
        status: 200,
        json: { contactId, instanceId: instanceId(), blocked: true },
      })
    }
    expect(number.connection.blocks[0]).toEqual({ person: { waId: '5511900000001', lid: '41' }, blocked: true })
    expect(await blocklist()).toEqual([contactId])
    expect(await ask('unblock', contactId)).toMatchObject({ status: 200, json: { blocked: false } })
    expect(await blocklist()).toEqual([])
    expect(await changes()).toEqual([
      { contact: ana, reason: 'blocked' },
      { contact: ana, reason: 'unblocked' },
    ])
  })

  it('that WhatsApp does not confirm changes nothing', async () => {
    number.connection.hang()
    expect(await ask('block', publicId('con', ana))).toMatchObject({
      status: 504,
      json: { code: 'whatsapp_unanswered' },
    })
    expect(await blocklist()).toEqual([])
  })

  it('is refused for whoever, or whatever, is not there', async () => {
    const nobody = publicId('con', ids.next('con'))
    expect(await ask('block', nobody)).toMatchObject({ status: 404 })
    const elsewhere = { instanceId: publicId('ins', ids.next('ins')) }
    expect(await ask('block', publicId('con', ana), elsewhere)).toMatchObject({ status: 404 })
    const stranger = await http.newKey({ tenantId: await http.newTenant() })
    const answer = await http.ask('POST', `/api/contacts/${publicId('con', ana)}/block`, {
      key: stranger,
      body: { instanceId: instanceId() },
    })
    expect(answer).toMatchObject({ status: 404, json: { code: 'not_found' } })
    expect(number.connection.blocks).toEqual([])
  })

  it('is refused while the number is not connected', async () => {
    number.connection.emit({ type: 'close', reason: 'REFUSED', detail: 'for now' })
    await until(async () => (await ask('block', publicId('con', ana))).json.code === 'instance_not_connected')
  })
})

describe('what WhatsApp says of the block list', () => {
  it('is kept: changes add to it, a whole list replaces it, strangers are left out', async () => {
    say({ complete: false, changes: [{ person: { waId: '5511900000001' }, blocked: true }] })
    await until(async () => (await blocklist()).length === 1)
    say({
      complete: true,
      changes: [
        { person: { lid: '42' }, blocked: true },
        { person: { waId: '5511999999999' }, blocked: true },
      ],
    })
    await until(async () => (await blocklist())[0] === publicId('con', bia))
    expect(await blocklist()).toHaveLength(1)
    say({ complete: false, changes: [{ person: { lid: '42' }, blocked: false }] })
    await until(async () => (await blocklist()).length === 0)
    expect((await changes()).map(({ reason }) => reason).sort()).toEqual([
      'blocked',
      'blocked',
      'unblocked',
      'unblocked',
    ])
  })

  it('of one person under number and LID is one', async () => {
    say({ complete: true, changes: [{ person: { waId: '5511900000001', lid: '41' }, blocked: true }] })
    await until(async () => (await blocklist()).length === 1)
    expect(await changes()).toEqual([{ contact: ana, reason: 'blocked' }])
  })
})

describe('the profile', () => {
  it('is kept as WhatsApp shows it', async () => {
    number.connection.emit({ type: 'profile', pictureUrl: 'https://pps.whatsapp.net/ana.jpg' })
    number.connection.emit({ type: 'profile', pushName: 'Ana Souza' })
    const shown = async () => {
      const [row] = await world.db.query<{ name: string; picture: string }>(sql`
        select push_name as name, picture_url as picture from instance where id = ${number.id}`)
      return row
    }
    await until(async () => (await shown())?.name === 'Ana Souza')
    expect(await shown()).toEqual({ name: 'Ana Souza', picture: 'https://pps.whatsapp.net/ana.jpg' })
  })
})
