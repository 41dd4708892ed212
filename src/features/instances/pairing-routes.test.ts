import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js'
import { type Gateway, startGateway, until, untilStatus } from '../../../test/support/gateway.js'
import { createTestServer, type TestServer } from '../../../test/support/http-server.js'
import { systemClock } from '../../kernel/clock.js'
import { createIdGenerator, type InstanceId, parseId } from '../../kernel/ids.js'
import type { FakeConnection } from '../../platform/whatsapp/fake/fake-whatsapp.js'
import { createChangeInstance } from './change-instance.js'
import { instanceRoutes } from './instance-routes.js'
import { createNews, type News } from './news.js'
import { pairingRoutes } from './pairing-routes.js'

const PHONE = '+5511987654321'
let database: TestDatabase
let http: TestServer
let gateway: Gateway
let news: News
let key: string
let names = 0

beforeAll(async () => {
  database = await createTestDatabase()
  const { db } = database
  const ids = createIdGenerator()
  news = createNews({ db, clock: systemClock })
  await news.start()
  const change = createChangeInstance({ db, news, ids, clock: systemClock })
  http = await createTestServer({
    db,
    modules: ({ dataKeys }) => [
      instanceRoutes({ db, dataKeys, news, change, maxAttempts: 20 }),
      pairingRoutes({ db, dataKeys, news, ids }),
    ],
  })
  gateway = await startGateway({ db, dataKeys: http.dataKeys })
  key = await http.newKey()
})
afterAll(async () => {
  await gateway?.stop()
  await http?.stop()
  await news?.stop()
  await database?.drop()
})

const ask = (method: string, path: string, body?: unknown) =>
  http.ask(method, `/api/instances${path}`, { key, ...(body === undefined ? {} : { body }) })

const askForCode = (id: string, phone = PHONE) => ask('POST', `/${id}/pairing-code`, { phone })

async function create(): Promise<{ id: string; connection: FakeConnection }> {
  const { id } = (await ask('POST', '', { name: `shop ${++names}` })).json
  const connection = await until(() =>
    gateway.whatsapp.connections.find(({ options }) => options.instanceId === parseId('ins', id)),
  )
  return { id, connection: connection as FakeConnection }
}

const showQr = ({ emit }: FakeConnection): void =>
  emit({ type: 'qr', code: 'the code', expiresAt: new Date(Date.now() + 20_000) })

describe('a pairing code', () => {
  it('is waited for until WhatsApp would take it, and is good as long as the QR session', async () => {
    const { id, connection } = await create()
    const waiting = askForCode(id, '+55 (11) 98765-4321')
    showQr(connection)
    const { status, json, headers } = await waiting
    expect({ status, json }).toEqual({ status: 200, json: { code: 'CODE4321', expiresAt: expect.any(String) } })
    expect(headers['cache-control']).toBe('no-store')
    expect(connection.codesAsked).toEqual(['5511987654321'])
    const { qr, sessionExpiresAt } = (await ask('GET', `/${id}/qr`)).json
    expect(qr.code).toBe('the code')
    expect(json.expiresAt).toBe(sessionExpiresAt)
  })

  it('is told of by an event that does not hold it, and is nowhere in clear', async () => {
    const { id, connection } = await create()
    showQr(connection)
    await askForCode(id)
    const events = await database.db.query<{ data: object }>(sql`
      select data from event where type = 'instance.qr_updated' and instance_id = ${parseId('ins', id)} order by seq`)
    expect(events.map(({ data }) => data)).toMatchObject([{ method: 'qr' }, { method: 'code' }])
    const [command] = await database.db.query<{ text: string }>(sql`
      select row_to_json(c)::text as text from instance_command c where instance_id = ${parseId('ins', id)}`)
    expect(command?.text).toContain('sealed')
    expect(JSON.stringify(events) + command?.text).not.toContain('CODE4321')
  })

  it('is not given to a connected number, nor while a scan is being completed', async () => {
    const { id, connection } = await create()
    showQr(connection)
    connection.emit({ type: 'open', waId: '5511987654321' })
    await untilStatus(database.db, parseId('ins', id) as InstanceId, 'CONNECTED')
    expect(await askForCode(id)).toMatchObject({ status: 409, json: { code: 'already_connected' } })
    expect(connection.codesAsked).toEqual([])
  })

  it('that WhatsApp refuses is an error with its reason', async () => {
    const { id, connection } = await create()
    showQr(connection)
    connection.refusePairing()
    expect(await askForCode(id)).toMatchObject({
      status: 409,
      json: { code: 'pairing_refused', detail: 'WhatsApp refuses with 429.' },
    })
  })

  it.each(['', '123', 'abc', '120363@g.us', '123456789012345@lid', '+55 11 9'])(
    'is not asked for %j, which is no phone number',
    async (phone) => {
      const { id, connection } = await create()
      showQr(connection)
      const answer = await askForCode(id, phone)
      expect(answer).toMatchObject({ status: 400, json: { code: 'invalid_number', errors: [{ pointer: '/phone' }] } })
      expect(connection.codesAsked).toEqual([])
    },
  )

  it('is refused for an instance that is disabled, or not there', async () => {
    const { id } = await create()
    await ask('POST', `/${id}/disable`)
    expect(await askForCode(id)).toMatchObject({ status: 409, json: { code: 'instance_disabled' } })
    const stranger = await http.newKey({ tenantId: await http.newTenant() })
    const answer = await http.ask('POST', `/api/instances/${id}/pairing-code`, {
      key: stranger,
      body: { phone: PHONE },
    })
    expect(answer).toMatchObject({ status: 404, json: { code: 'not_found' } })
  })

  it('of a connection that ends meanwhile is answered, not waited for', async () => {
    const { id, connection } = await create()
    showQr(connection)
    await ask('GET', `/${id}/qr`)
    connection.hangPairing()
    const asked = askForCode(id)
    await until(() => connection.codesAsked.length === 1)
    connection.emit({ type: 'close', reason: 'CONNECTION_LOST', detail: 'cut' })
    expect(await asked).toMatchObject({ status: 409, json: { code: 'instance_not_connected' } })
  })
})
