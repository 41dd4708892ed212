import { randomUUID } from 'node:crypto'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js'
import { buildInstance } from '../../../test/support/factories.js'
import { createTestServer, type TestServer } from '../../../test/support/http-server.js'
import { type Clock, systemClock } from '../../kernel/clock.js'
import type { Dependency } from '../../kernel/dependency.js'
import { createIdGenerator, type JobId, publicId, type TenantId } from '../../kernel/ids.js'
import { silentLogger } from '../../kernel/logger.js'
import { createCache } from '../../platform/cache/cache.js'
import { createMemoryCache } from '../../platform/cache/memory.js'
import type { Database } from '../../platform/database/database.js'
import { authorizationContract } from '../../platform/http/authorization.contract.js'
import { createJobs } from '../../platform/jobs/create-jobs.js'
import { DEFAULT_TENANT_ID } from '../tenants/tenant.js'
import { deadLetterRoutes } from './dead-letter-routes.js'
import { createDependencyChecks } from './dependency-checks.js'
import { healthRoutes } from './health-routes.js'

const ids = createIdGenerator()
let database: TestDatabase
let http: TestServer
let key: string
const state = { started: true, draining: false, away: false, redis: 'up' as 'up' | 'down' | 'hanging' }
const redis: Dependency = {
  name: 'redis',
  check: () =>
    state.redis === 'hanging'
      ? new Promise(() => {})
      : Promise.resolve({
          ...{ name: 'redis', status: state.redis, meanwhile: null, latencyMs: 1, version: '7.0.15', problems: [] },
        }),
}
/** For it each look is long ago, and no wait is long. */
let elapsed = 0
const impatient: Clock = {
  ...systemClock,
  mono: () => (elapsed += 60_000),
  sleep: (_ms, signal) => systemClock.sleep(50, signal),
}

beforeAll(async () => {
  database = await createTestDatabase()
  http = await createTestServer({
    db: database.db,
    modules: ({ verifier: { authenticate } }) => [
      healthRoutes({
        db: breakable(database.db),
        clock: systemClock,
        cache: createCache({ place: createMemoryCache({ clock: systemClock }), clock: systemClock }),
        dependencies: createDependencyChecks({ dependencies: [redis], clock: impatient }),
        authenticate,
        isStarted: () => state.started,
        isDraining: () => state.draining,
        version: '1.2.3',
        processName: 'web',
      }),
      deadLetterRoutes({ jobs: jobsOf(database.db) }),
    ],
  })
  key = await http.newKey()
})
afterAll(async () => {
  await http?.stop()
  await database?.drop()
})

/** The real database, until it is switched away. */
function breakable(db: Database): Database {
  const away = () => Promise.reject(Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' }))
  return {
    ...db,
    query: (statement, name) => (state.away ? away() : db.query(statement, name)),
    tenantTx: (tenantId, work) => (state.away ? away() : db.tenantTx(tenantId, work)),
  }
}

/** The real job system, whose workers never start. */
const jobsOf = (db: Database) =>
  createJobs({
    db,
    dispatcher: { start: async () => {}, stop: async () => {}, onWakeUp: () => {} },
    incarnation: randomUUID(),
    advisoryLocks: false,
    leadership: { isLeader: () => false },
    clock: systemClock,
    random: Math.random,
    logger: silentLogger,
  })

async function bury(tenantId: TenantId): Promise<JobId> {
  const id = ids.next('job')
  await database.db.execute(sql`
    insert into job (id, tenant_id, kind, subject_id, state, attempt, error, died_at)
    values (${id}, ${tenantId}, 'deliver-webhook', ${ids.next('dlv')}, 'dead', 8, 'HTTP 500', now())`)
  return id
}

const during = async <Result>(change: Partial<typeof state>, work: () => Promise<Result>): Promise<Result> => {
  const before = { ...state }
  Object.assign(state, change)
  return work().finally(() => Object.assign(state, before))
}
const statusOf = async (url: string) => (await http.ask('GET', url)).status

describe('the probes', () => {
  it('say alive, started and ready of a healthy process', async () => {
    expect(await http.ask('GET', '/livez')).toMatchObject({ status: 200, json: { status: 'alive' } })
    expect(await http.ask('GET', '/startupz')).toMatchObject({ status: 200, json: { status: 'started' } })
    expect(await http.ask('GET', '/readyz')).toMatchObject({ status: 200, json: { status: 'ready' } })
    expect(await http.ask('GET', '/health')).toMatchObject({
      status: 200,
      json: { status: 'healthy', checks: { database: { status: 'healthy' } } },
    })
  })

  it('want no work while it starts or drains, and let it live', async () => {
    await during({ started: false }, async () => {
      expect([await statusOf('/startupz'), await statusOf('/readyz'), await statusOf('/livez')]).toEqual([
        503, 503, 200,
      ])
    })
    await during({ draining: true }, async () => {
      expect(await http.ask('GET', '/readyz')).toMatchObject({ status: 503, json: { status: 'draining' } })
      expect(await statusOf('/livez')).toBe(200)
    })
  })

  it('say so when the database is away, let the process live, and heal by themselves', async () => {
    await during({ away: true }, async () => {
      await expect.poll(() => statusOf('/readyz')).toBe(503)
      expect(await statusOf('/livez')).toBe(200)
      expect(await http.ask('GET', '/health')).toMatchObject({ status: 503, json: { status: 'unhealthy' } })
      const summary = await http.ask('GET', '/api/health', { key })
      expect(summary).toMatchObject({ status: 200, json: { status: 'unhealthy', instances: null } })
      const check = await http.ask('POST', '/api/health/check', { key })
      expect(check).toMatchObject({ status: 503, json: { code: 'database_unavailable' } })
    })
    await expect.poll(() => statusOf('/readyz')).toBe(200)
  })
})

describe('a server beside the database that is away', () => {
  it.each(['down', 'hanging'] as const)('(%s) leaves the process ready, if degraded', async (redis) => {
    await during({ redis }, async () => {
      await expect.poll(() => http.ask('GET', '/readyz')).toMatchObject({ status: 200, json: { status: 'degraded' } })
      const checks = { database: { status: 'healthy' }, redis: { status: 'unhealthy' } }
      expect(await http.ask('GET', '/health')).toMatchObject({ status: 503, json: { status: 'unhealthy', checks } })
      expect(await http.ask('GET', '/api/health', { key })).toMatchObject({
        ...{ status: 200, json: { status: 'unhealthy', instances: { total: expect.any(Number) } } },
      })
    })
    await expect.poll(() => http.ask('GET', '/readyz')).toMatchObject({ status: 200, json: { status: 'ready' } })
  })
})

describe('the health of instances', () => {
  it('is counted for a key that may read, of its own tenant', async () => {
    await buildInstance(database.db, DEFAULT_TENANT_ID)
    const tenantId = await http.newTenant()
    await buildInstance(database.db, tenantId)
    const mine = await http.ask('GET', '/api/health', { key: await http.newKey({ tenantId }) })
    expect(mine.json).toMatchObject({
      status: 'healthy',
      version: '1.2.3',
      instances: { total: 1, ageMs: expect.any(Number) },
    })
    expect(Object.values<number>(mine.json.instances.byStatus).reduce((sum, count) => sum + count, 0)).toBe(1)
    for (const asked of [{}, { key: 'wrong' }, { key: await http.newKey({ scopes: ['send'] }) }]) {
      expect((await http.ask('GET', '/api/health', asked)).json.instances).toBeNull()
    }
  })

  it('is checked one by one on demand', async () => {
    const { status, json } = await http.ask('POST', '/api/health/check', { key })
    expect(status).toBe(200)
    expect(json.instances).toHaveLength(1)
    expect(json.instances[0]).toMatchObject({ id: expect.stringMatching(/^ins_/), enabled: true })
    expect(json.instances[0].healthy).toBe(json.instances[0].connectionStatus === 'CONNECTED')
  })

  it('includes the memory of the process', async () => {
    const { json } = await http.ask('GET', '/api/memory/report', { key })
    expect(json).toMatchObject({ process: 'web', pid: process.pid, thresholds: { warn: 0.8, crit: 0.95 } })
    expect(json.rss).toBeGreaterThan(json.heapUsed)
  })
})

describe('dead letters', () => {
  const settle = (method: string, path: string, id: JobId) =>
    http.ask(method, `/api/dead-letters/${publicId('job', id)}${path}`, { key })

  it('are listed in pages, of one tenant', async () => {
    await bury(DEFAULT_TENANT_ID)
    await bury(await http.newTenant())
    await bury(DEFAULT_TENANT_ID)
    const first = await http.ask('GET', '/api/dead-letters?limit=1', { key })
    expect(first.json.data).toMatchObject([
      { kind: 'deliver-webhook', subjectId: expect.stringMatching(/^dlv_/), attempts: 8, error: 'HTTP 500' },
    ])
    const second = await http.ask('GET', `/api/dead-letters?limit=1&cursor=${first.json.nextCursor}`, { key })
    expect(second.json).toMatchObject({ nextCursor: null })
    expect(second.json.data).toHaveLength(1)
    expect(second.json.data[0].id).not.toBe(first.json.data[0].id)
  })

  it.each([
    ['POST', '/retry', 202],
    ['POST', '/discard', 204],
    ['DELETE', '', 204],
  ])('%s %s settles one, once, and only one’s own', async (method, path, status) => {
    const [mine, foreign] = [await bury(DEFAULT_TENANT_ID), await bury(await http.newTenant())]
    expect((await settle(method, path, mine)).status).toBe(status)
    expect(await settle(method, path, mine)).toMatchObject({ status: 404, json: { code: 'not_found' } })
    expect((await settle(method, path, foreign)).status).toBe(404)
  })
})

authorizationContract({ server: () => http })
