import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js'
import { createTestServer, type TestServer } from '../../../test/support/http-server.js'
import { systemClock } from '../../kernel/clock.js'
import { createMemoryRateLimiter } from '../counters/memory-rate-limit.js'
import type { RateLimiter } from '../counters/rate-limit.js'
import type { App } from './route.js'

let database: TestDatabase
beforeAll(async () => {
  database = await createTestDatabase()
})
afterAll(() => database?.drop())

function routes(app: App): void {
  app.get('/api/mine', { config: { scope: 'read' } }, async () => ({}))
  app.get('/api/everyones', { config: { scope: 'public' } }, async () => ({}))
}

const serverWith = (limiter: RateLimiter, perMinute: number) =>
  createTestServer({
    db: database.db,
    modules: () => [routes],
    rateLimit: { limiter, perMinute, clock: { now: () => 1_700_000_000_000 } },
  })

describe('a limit of requests', () => {
  let http: TestServer
  beforeAll(async () => {
    http = await serverWith(createMemoryRateLimiter({ clock: { mono: () => 0 } }), 3)
  })
  afterAll(() => http?.stop())

  it('is shared by the keys of a tenant, and told with every answer', async () => {
    const tenantId = await http.newTenant()
    const keys = [await http.newKey({ tenantId }), await http.newKey({ tenantId })]
    const answers = []
    for (let asked = 0; asked < 4; asked++)
      answers.push(await http.ask('GET', '/api/mine', { key: keys[asked % 2] ?? '' }))
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 429])
    expect(answers[0]?.headers).toMatchObject({
      'x-ratelimit-limit': '3',
      'x-ratelimit-remaining': '2',
      'x-ratelimit-reset': '1700000020',
      'ratelimit-policy': '"default";q=3;w=60',
      ratelimit: '"default";r=2;t=20',
    })
    expect(answers[3]).toMatchObject({
      headers: { 'retry-after': '20', 'x-ratelimit-remaining': '0', ratelimit: '"default";r=0;t=60' },
      json: { code: 'rate_limited', retryAfter: 20 },
    })
  })

  it('is another one for another tenant, and none for those who are not asked for a key', async () => {
    const key = await http.newKey({ tenantId: await http.newTenant() })
    for (let asked = 0; asked < 5; asked++) {
      const { status, headers } = await http.ask('GET', '/api/everyones', { key })
      expect({ status, limit: headers['x-ratelimit-limit'] }).toEqual({ status: 200, limit: undefined })
    }
    expect(await http.ask('GET', '/api/mine', { key })).toMatchObject({ headers: { 'x-ratelimit-remaining': '2' } })
  })

  it('costs a stranger nothing of anybody’s', async () => {
    expect(await http.ask('GET', '/api/mine', { key: 'mir_wrong' })).toMatchObject({ status: 401 })
  })

  it('is in the document of the API', async () => {
    const { json } = await http.ask('GET', '/openapi.json')
    const answers = json.paths['/api/mine'].get.responses
    expect(answers['429'].content['application/problem+json'].schema).toEqual({ $ref: '#/components/schemas/Problem' })
    expect(Object.keys(answers['429'].headers)).toEqual(
      expect.arrayContaining(['Retry-After', 'X-RateLimit-Remaining']),
    )
    expect(json.paths['/api/everyones'].get.responses['429']).toBeUndefined()
  })
})

it('without a limit no answer speaks of one', async () => {
  const http = await createTestServer({ db: database.db, modules: () => [routes] })
  const { status, headers } = await http.ask('GET', '/api/mine', { key: await http.newKey() })
  expect(status).toBe(200)
  expect(Object.keys(headers).filter((name) => name.includes('ratelimit'))).toEqual([])
  await http.stop()
})

it('is by the clock: what was used flows back', async () => {
  let now = 0
  const http = await serverWith(createMemoryRateLimiter({ clock: { ...systemClock, mono: () => now } }), 1)
  const key = await http.newKey()
  const ask = async () => (await http.ask('GET', '/api/mine', { key })).status
  expect([await ask(), await ask()]).toEqual([200, 429])
  now = 60_000
  expect(await ask()).toBe(200)
  await http.stop()
})
