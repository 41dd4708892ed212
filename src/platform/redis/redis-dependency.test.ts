import { afterAll, expect, it } from 'vitest'
import { describeWithDebian } from '../../../test/support/describe-with-debian.js'
import { connectRedis } from '../../../test/support/servers/connect-redis.js'
import { type RedisOptions, startRedis, startRedisCluster } from '../../../test/support/servers/redis.js'
import { systemClock } from '../../kernel/clock.js'
import { createRedisDependency } from './redis-dependency.js'

const PATIENCE = { timeout: 20_000, interval: 50 }

describeWithDebian(['redis-server'], 'Redis as a dependency', () => {
  const ends: (() => Promise<void>)[] = []
  afterAll(async () => void (await Promise.all(ends.map((end) => end()))))

  async function dependencyOn(url: string, options: { keepsJobs?: boolean; aheadMs?: number } = {}) {
    const redis = await connectRedis(url)
    ends.unshift(() => redis.stop())
    const clock = { ...systemClock, now: () => Date.now() - (options.aheadMs ?? 0) }
    return createRedisDependency({ redis, clock, keepsJobs: options.keepsJobs ?? false })
  }

  async function server(options?: RedisOptions) {
    const started = await startRedis(options)
    ends.push(() => started.stop())
    return started
  }

  const codes = (report: { problems: readonly { code: string }[] }) => report.problems.map(({ code }) => code)

  it('is up where nothing is wrong', async () => {
    const { url } = await server({ settings: { maxmemory: '50mb', 'maxmemory-policy': 'noeviction' } })
    expect(await (await dependencyOn(url)).check()).toEqual({
      name: 'redis',
      status: 'up',
      meanwhile: null,
      latencyMs: expect.any(Number),
      version: expect.stringMatching(/^\d+\.\d+/),
      problems: [],
    })
  })

  it('says that it evicts, and that a queue has no append-only file', async () => {
    const { url } = await server({ settings: { maxmemory: '50mb', 'maxmemory-policy': 'allkeys-lru' } })
    const report = await (await dependencyOn(url, { keepsJobs: true })).check()
    expect(report.status).toBe('degraded')
    expect(codes(report)).toEqual(['evicting_policy', 'no_persistence'])
  })

  it('has nothing against an append-only file', async () => {
    const { url } = await server({ appendOnly: true })
    expect((await (await dependencyOn(url, { keepsJobs: true })).check()).problems).toEqual([])
  })

  it('says that it is a replica, which refuses writes', async () => {
    const { url } = await server({ replicaOf: await server() })
    expect(codes(await (await dependencyOn(url)).check())).toEqual(['read_only_replica', 'refused'])
  })

  it.each([60_000, -60_000])('says that its clock is %i ms ahead', async (aheadMs) => {
    const { url } = await server()
    const report = await (await dependencyOn(url, { aheadMs })).check()
    expect(codes(report)).toEqual(['clock_apart'])
    expect(report.problems[0]?.found).toContain(aheadMs > 0 ? 'ahead' : 'behind')
  })

  it('says that slots of a cluster are not served', async () => {
    const cluster = await startRedisCluster()
    ends.push(() => cluster.stop())
    const dependency = await dependencyOn(cluster.url)
    expect((await dependency.check()).problems).toEqual([])
    await cluster.nodes[0]?.cli('cluster', 'delslots', '0')
    await expect.poll(async () => codes(await dependency.check()), PATIENCE).toContain('cluster_slots_missing')
  })

  it('is down when it is gone, and says what happens meanwhile', async () => {
    const redis = await server()
    const dependency = await dependencyOn(redis.url)
    await redis.kill()
    await expect
      .poll(() => dependency.check(), PATIENCE)
      .toMatchObject({ status: 'down', latencyMs: null, meanwhile: expect.stringContaining('PostgreSQL') })
  })
})
