import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js'
import { type Gateway, startGateway, until } from '../../../test/support/gateway.js'
import { createTestServer, type TestServer } from '../../../test/support/http-server.js'
import { systemClock } from '../../kernel/clock.js'
import { createIdGenerator } from '../../kernel/ids.js'
import { authorizationContract } from '../../platform/http/authorization.contract.js'
import type { FakeConnection } from '../../platform/whatsapp/fake/fake-whatsapp.js'
import { createChangeInstance } from './change-instance.js'
import { instanceRoutes } from './instance-routes.js'
import { createNews, type News } from './news.js'

let database: TestDatabase
let http: TestServer
let gateway: Gateway
let news: News
let key: string
let names = 0

beforeAll(async () => {
  database = await createTestDatabase()
  const { db } = database
  news = createNews({ db, clock: systemClock })
  await news.start()
  const change = createChangeInstance({ db, news, ids: createIdGenerator(), clock: systemClock })
  http = await createTestServer({
    db,
    modules: ({ dataKeys }) => [instanceRoutes({ db, dataKeys, news, change, maxAttempts: 20 })],
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

describe('creating an instance', () => {
  it('answers 201 with its view', async () => {
    const name = `shop ${++names}`
    const { status, json } = await ask('POST', '', { name })
    expect({ status, json }).toMatchObject({
      status: 201,
      json: {
        id: expect.stringMatching(/^ins_/),
        name,
        provider: 'baileys',
        enabled: true,
        connectionStatus: 'INITIALIZING',
        reason: null,
        phone: null,
        waId: null,
        reconnect: { attempt: 0, max: 20, nextAt: null, lastReason: null },
      },
    })
  })

  it('refuses a name that is taken', async () => {
    const { name } = await create()
    expect(await ask('POST', '', { name })).toMatchObject({ status: 409, json: { code: 'name_taken' } })
  })

  it.each([
    [{}, '/name'],
    [{ name: '' }, '/name'],
    [{ name: 'a\u0000b' }, '/name'],
    [{ name: 'a', provider: 'x' }, '/provider'],
  ])('names the bad field of %j', async (body, pointer) => {
    expect(await ask('POST', '', body)).toMatchObject({
      status: 400,
      json: { code: 'invalid_request', errors: [{ pointer }] },
    })
  })

  it('may create it disabled: then it does not connect', async () => {
    const name = `shop ${++names}`
    const { json } = await ask('POST', '', { name, enabled: false })
    expect(json).toMatchObject({ enabled: false, connectionStatus: 'DISCONNECTED', reason: 'DISABLED' })
    expect(await ask('GET', `/${json.id}/qr`)).toMatchObject({ status: 409, json: { code: 'instance_disabled' } })
    expect(await ask('POST', `/${json.id}/restart`)).toMatchObject({ json: { code: 'instance_disabled' } })
    expect(await ask('POST', `/${json.id}/logout`)).toMatchObject({ json: { code: 'instance_disabled' } })
  })
})

describe('the QR', () => {
  it('is waited for, drawn, and not needed any more once connected', async () => {
    const { id } = await create()
    const waiting = ask('GET', `/${id}/qr`)
    const connection = await connectionOf(id)
    connection.emit({ type: 'qr', code: 'the code', expiresAt: new Date(Date.now() + 20_000) })
    const { status, json, headers } = await waiting
    expect({ status, json }).toMatchObject({
      status: 200,
      json: {
        connectionStatus: 'QR_REQUIRED',
        qr: { code: 'the code', image: expect.stringMatching(/^data:image\/png;base64,/) },
      },
    })
    expect(Date.parse(json.sessionExpiresAt)).toBeGreaterThan(Date.parse(json.qr.expiresAt))
    expect(headers['cache-control']).toBe('no-store')
    connection.emit({ type: 'open', waId: '5511987654321' })
    await until(async () => (await ask('GET', `/${id}/status`)).json.connectionStatus === 'CONNECTED')
    expect((await ask('GET', `/${id}/qr`)).json).toEqual({
      connectionStatus: 'CONNECTED',
      qr: null,
      sessionExpiresAt: null,
    })
  })

  it('that does not come in time is an error that invites a retry', async () => {
    const { id } = await create()
    await connectionOf(id)
    expect(await ask('GET', `/${id}/qr?wait=0.1`)).toMatchObject({ status: 504, json: { code: 'qr_unavailable' } })
  })
})

describe('an instance', () => {
  it('is shown in four views', async () => {
    const { id, name } = await create()
    ;(await connectionOf(id)).emit({ type: 'open', waId: '5511987654321', lid: '77', pushName: 'Ana' })
    await until(async () => (await ask('GET', `/${id}/status`)).json.connectionStatus === 'CONNECTED')
    const status = { id, enabled: true, connectionStatus: 'CONNECTED', reason: null, since: expect.any(String) }
    expect((await ask('GET', `/${id}/status`)).json).toEqual(status)
    const view = { ...status, name, phone: '+5511987654321', waId: '5511987654321', lid: '77', pushName: 'Ana' }
    expect((await ask('GET', `/${id}`)).json).toMatchObject(view)
    const details = (await ask('GET', `/${id}/details`)).json
    expect(details).toMatchObject({ ...view, owner: { epoch: 1, acquiredAt: expect.any(String) } })
    expect((await ask('GET', '?connectionStatus=CONNECTED&enabled=true')).json.data).toContainEqual(
      expect.objectContaining(view),
    )
  })

  it('is renamed, but not to a name that is taken', async () => {
    const [first, second] = [await create(), await create()]
    expect(await ask('PATCH', `/${first.id}`, { name: second.name })).toMatchObject({ json: { code: 'name_taken' } })
    const name = `renamed ${++names}`
    expect(await ask('PATCH', `/${first.id}`, { name })).toMatchObject({ status: 200, json: { id: first.id, name } })
  })

  it('has settings, of which those that are named change', async () => {
    const { id, name } = await create()
    expect(await ask('PATCH', `/${id}`, { rejectCalls: true })).toMatchObject({ json: { name, rejectCalls: true } })
    const renamed = `renamed ${++names}`
    expect(await ask('PATCH', `/${id}`, { name: renamed })).toMatchObject({
      json: { name: renamed, rejectCalls: true },
    })
    expect(await ask('PATCH', `/${id}`, {})).toMatchObject({ status: 400, json: { code: 'invalid_request' } })
    expect(await ask('PATCH', `/${id}`, { rejectCalls: 'yes' })).toMatchObject({
      status: 400,
      json: { errors: [{ pointer: '/rejectCalls' }] },
    })
  })

  it('obeys: disable, enable, restart, logout, delete', async () => {
    const { id } = await create()
    await connectionOf(id)
    expect(await ask('POST', `/${id}/disable`)).toMatchObject({ status: 200, json: { reason: 'DISABLED' } })
    expect(await ask('POST', `/${id}/enable`)).toMatchObject({
      status: 200,
      json: { connectionStatus: 'INITIALIZING' },
    })
    const second = await connectionOf(id, 2)
    second.emit({ type: 'open', waId: '5511987654321' })
    await until(async () => (await ask('GET', `/${id}/status`)).json.connectionStatus === 'CONNECTED')
    expect(await ask('POST', `/${id}/restart`)).toMatchObject({ status: 200, json: { reason: 'RESTART' } })
    const third = await connectionOf(id, 3)
    third.emit({ type: 'open', waId: '5511987654321' })
    await until(async () => (await ask('GET', `/${id}/status`)).json.connectionStatus === 'CONNECTED')
    expect(await ask('POST', `/${id}/logout`)).toMatchObject({
      json: { connectionStatus: 'AUTH_FAILURE', reason: 'LOGOUT' },
    })
    expect(await ask('GET', `/${id}/qr`)).toMatchObject({ status: 409, json: { code: 'session_ended' } })
    expect((await ask('DELETE', `/${id}`)).status).toBe(204)
    expect(await ask('GET', `/${id}`)).toMatchObject({ status: 404, json: { code: 'not_found' } })
  })

  it('of another tenant is not there', async () => {
    const { id } = await create()
    const stranger = await http.newKey({ tenantId: await http.newTenant() })
    for (const [method, path] of [
      ['GET', `/${id}`],
      ['GET', `/${id}/status`],
      ['GET', `/${id}/details`],
      ['GET', `/${id}/qr`],
      ['POST', `/${id}/enable`],
      ['POST', `/${id}/disable`],
      ['POST', `/${id}/restart`],
      ['POST', `/${id}/logout`],
      ['DELETE', `/${id}`],
    ] as const) {
      const answer = await http.ask(method, `/api/instances${path}`, { key: stranger })
      expect(answer, `${method} ${path}`).toMatchObject({ status: 404, json: { code: 'not_found' } })
    }
    expect((await http.ask('GET', '/api/instances', { key: stranger })).json).toEqual({ data: [], nextCursor: null })
  })
})

describe('the list', () => {
  it('is paged by cursor, the newest first, each once', async () => {
    const stranger = await http.newKey({ tenantId: await http.newTenant() })
    const list = (query: string) => http.ask('GET', `/api/instances${query}`, { key: stranger })
    for (const name of ['a', 'b', 'c']) {
      await http.ask('POST', '/api/instances', { key: stranger, body: { name, enabled: false } })
    }
    const first = (await list('?limit=2')).json
    const second = (await list(`?limit=2&cursor=${first.nextCursor}`)).json
    expect([...first.data, ...second.data].map(({ name }) => name)).toEqual(['c', 'b', 'a'])
    expect(second.nextCursor).toBeNull()
    expect(await list('?cursor=nonsense')).toMatchObject({ status: 400, json: { errors: [{ pointer: '/cursor' }] } })
  })
})

authorizationContract({ server: () => http })

// Helpers

const ask = (method: string, path: string, body?: unknown) =>
  http.ask(method, `/api/instances${path}`, { key, ...(body === undefined ? {} : { body }) })

async function create(): Promise<{ id: string; name: string }> {
  return (await ask('POST', '', { name: `shop ${++names}` })).json
}

/** The n-th connection of this instance. */
function connectionOf(id: string, number = 1): Promise<FakeConnection> {
  return until(async () => {
    const { json } = await ask('GET', `/${id}`)
    const own = gateway.whatsapp.connections.filter(({ options }) => options.displayName === json.name)
    return own[number - 1]
  }, `connection ${number}`) as Promise<FakeConnection>
}
