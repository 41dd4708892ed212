import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js'
import { describeWithDebian } from '../../../test/support/describe-with-debian.js'
import { buildTenant } from '../../../test/support/factories.js'
import { connectRedis } from '../../../test/support/servers/connect-redis.js'
import {
  type RedisServer,
  startRedis,
  startRedisCluster,
  startRedisWithSentinels,
} from '../../../test/support/servers/redis.js'
import { useRedis } from '../../../test/support/servers/use-redis.js'
import { createIdGenerator, type TenantId } from '../../kernel/ids.js'
import type { Redis } from '../redis/redis.js'
import { createPostgresQuotas } from './postgres-quotas.js'
import { newUse, quotasContract } from './quotas.contract.js'
import type { QuotaLimits, Quotas, QuotaUse, Recount } from './quotas.js'
import { createRedisQuotas } from './redis-quotas.js'

const ids = createIdGenerator()

describe('in PostgreSQL', () => {
  let database: TestDatabase
  beforeAll(async () => {
    database = await createTestDatabase()
  })
  afterAll(() => database.drop())

  let tenants = 0
  quotasContract({
    quotas: () => createPostgresQuotas({ db: database.db }),
    newTenant: () => buildTenant(database.db, `tenant ${++tenants}`),
  })
})

/** As rows of a database would keep it: what asks is written down first, then what came of it. */
function createBook() {
  const states = new Map<QuotaUse, 'asked' | 'granted'>()
  const of = (tenantId: TenantId, day: string, state: string): QuotaUse[] =>
    [...states].filter(([use, is]) => is === state && use.tenantId === tenantId && use.day === day).map(([use]) => use)
  const recount: Recount = async (tenantId, day) => ({
    granted: of(tenantId, day, 'granted'),
    asked: of(tenantId, day, 'asked'),
  })
  return {
    recount,
    get granted() {
      return [...states.values()].filter((state) => state === 'granted').length
    },
    /** Asks until there is an answer, as a job that is tried again does. */
    async ask(quotas: Quotas, use: QuotaUse, limits: QuotaLimits): Promise<boolean> {
      states.set(use, 'asked')
      for (;;) {
        const answer = await quotas.reserve(use, limits).catch(() => undefined)
        if (!answer) {
          await sleep(5)
          continue
        }
        if (answer.granted) states.set(use, 'granted')
        else states.delete(use)
        return answer.granted
      }
    },
  }
}

const noBook: Recount = async () => ({ granted: [], asked: [] })

/** Twenty clients ask for more than there is, before, during and after the fault. */
async function neverTooMany(redis: Redis, fault: () => Promise<void>): Promise<void> {
  const book = createBook()
  const quotas = createRedisQuotas({ redis, recount: book.recount })
  const tenantId = ids.next('ten')
  const limits = { daily: 100, hourly: 1_000, number: 1_000 }
  let over = false
  const clients = Array.from({ length: 20 }, async () => {
    for (;;) {
      const last = over
      const granted = await book.ask(quotas, newUse(tenantId), limits)
      if (last && !granted) return
      await sleep(5)
    }
  })
  await fault()
  over = true
  await Promise.all(clients)
  expect(book.granted).toBe(100)
}

describeWithDebian(['redis-server'], 'in Redis', () => {
  let server: RedisServer
  let redis: Redis
  useRedis((made) => {
    server = made.server
    redis = made.redis
  })

  quotasContract({
    quotas: () => createRedisQuotas({ redis, recount: noBook }),
    newTenant: async () => ids.next('ten'),
  })

  it('are never passed, and exact in the end, while Redis is wiped again and again', async () => {
    await neverTooMany(redis, async () => {
      for (let wiped = 0; wiped < 30; wiped++) await server.flush()
    })
  })

  it('are exact in the end after restarts that remember nothing', async () => {
    await neverTooMany(redis, async () => {
      for (let killed = 0; killed < 3; killed++) await server.restart()
    })
  })

  it('count what was granted before a loss and is recorded after it', async () => {
    const tenantId = ids.next('ten')
    const limits = { daily: 1, hourly: 1, number: 1 }
    const first = newUse(tenantId)
    const quotas = createRedisQuotas({ redis, recount: async () => ({ granted: [], asked: [first] }) })
    expect(await quotas.reserve(first, limits)).toMatchObject({ granted: true })
    await server.flush()
    expect(await quotas.reserve(newUse(tenantId), limits)).toMatchObject({ granted: false, used: 1 })
    expect(await quotas.reserve(first, limits)).toMatchObject({ granted: true })
    expect(await quotas.reserve(newUse(tenantId), limits)).toMatchObject({ granted: false, used: 1 })
  })

  it('give up what asked before a loss, and is too much when it asks again', async () => {
    const tenantId = ids.next('ten')
    const [one, other] = [newUse(tenantId), newUse(tenantId)]
    const limits = { daily: 1, hourly: 1, number: 1 }
    const quotas = createRedisQuotas({ redis, recount: async () => ({ granted: [one], asked: [other] }) })
    expect(await quotas.reserve(other, limits)).toEqual({ granted: false, by: 'daily', used: 1 })
    expect(await quotas.release(one)).toBe(true)
    expect(await quotas.reserve(newUse(tenantId), limits)).toMatchObject({ granted: true })
  })

  it('do not believe a count that began before another loss', async () => {
    const tenantId = ids.next('ten')
    const limits = { daily: 1, hourly: 1, number: 1 }
    const meanwhile = newUse(tenantId)
    let counts = 0
    const slow = createRedisQuotas({
      redis,
      async recount() {
        if (++counts > 1) return { granted: [meanwhile], asked: [] }
        // While this process counts: another one has counted, granted and recorded, and all is lost again.
        const quick = createRedisQuotas({ redis, recount: noBook })
        expect(await quick.reserve(meanwhile, limits)).toMatchObject({ granted: true })
        await server.flush()
        return { granted: [], asked: [] }
      },
    })
    expect(await slow.reserve(newUse(tenantId), limits)).toMatchObject({ granted: false })
    expect(counts).toBe(2)
  })

  it('are counted anew after a restart that remembers something older', async () => {
    const keeper = await startRedis({ appendOnly: true })
    const client = await connectRedis(keeper.url)
    const book = createBook()
    const quotas = createRedisQuotas({ redis: client, recount: book.recount })
    const tenantId = ids.next('ten')
    const limits = { daily: 3, hourly: 3, number: 3 }
    for (let asked = 0; asked < 3; asked++) await book.ask(quotas, newUse(tenantId), limits)
    for (const key of (await keeper.cli('keys', 'quota:daily:*')).trim().split('\n')) await keeper.cli('set', key, '0')
    await keeper.restart()
    expect(await book.ask(quotas, newUse(tenantId), limits)).toBe(false)
    await client.stop()
    await keeper.stop()
  })

  it('grant nothing while Redis cannot be reached', async () => {
    const quotas = createRedisQuotas({ redis, recount: noBook })
    await server.kill()
    const limits = { daily: 3, hourly: 3, number: 3 }
    await expect(quotas.reserve(newUse(ids.next('ten')), limits)).rejects.toThrow()
    await server.restart()
  })
})

describeWithDebian(['redis-server'], 'in a Redis Cluster', () => {
  let stop: () => Promise<unknown>
  let redis: Redis
  beforeAll(async () => {
    const cluster = await startRedisCluster()
    redis = await connectRedis(cluster.url)
    stop = () => Promise.all([redis.stop(), cluster.stop()])
  })
  afterAll(() => stop())

  quotasContract({
    quotas: () => createRedisQuotas({ redis, recount: noBook }),
    newTenant: async () => ids.next('ten'),
  })
})

describeWithDebian(['redis-server'], 'behind sentinels', () => {
  it('quotas are never passed, and exact in the end, when the master is lost', async () => {
    const servers = await startRedisWithSentinels()
    const redis = await connectRedis(servers.url)
    await neverTooMany(redis, () => servers.master.kill())
    await redis.stop()
    await servers.stop()
  })
})
