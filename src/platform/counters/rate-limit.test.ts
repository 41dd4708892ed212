import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { describeWithDebian } from '../../../test/support/describe-with-debian.js'
import { connectRedis } from '../../../test/support/servers/connect-redis.js'
import { type RedisServer, startRedisCluster } from '../../../test/support/servers/redis.js'
import { useRedis } from '../../../test/support/servers/use-redis.js'
import { systemClock } from '../../kernel/clock.js'
import type { Redis } from '../redis/redis.js'
import { createFallbackRateLimiter } from './fallback-rate-limit.js'
import { createMemoryRateLimiter } from './memory-rate-limit.js'
import { rateLimitContract } from './rate-limit.contract.js'
import { decideRate, type RateLimiter } from './rate-limit.js'
import { createRedisRateLimiter } from './redis-rate-limit.js'

const PATIENCE = { timeout: 20_000, interval: 50 }
const rate = { limit: 10, windowMs: 1_000 }

describe('decideRate', () => {
  it('gives back one use per interval', () => {
    const { wholeAt } = decideRate(rate, { now: 0, wholeAt: 1_000 })
    expect(wholeAt).toBe(1_000)
    expect(decideRate(rate, { now: 99, wholeAt }).decision.allowed).toBe(false)
    expect(decideRate(rate, { now: 100, wholeAt })).toEqual({
      decision: { allowed: true, remaining: 0, resetMs: 1_000, retryAfterMs: 0 },
      wholeAt: 1_100,
    })
  })

  it('begins anew where the clock was set back by more than its window', () => {
    expect(decideRate(rate, { now: 0, wholeAt: 600_000 })).toMatchObject({ decision: { allowed: true, remaining: 9 } })
  })
})

describe('in memory', () => {
  const limiter = createMemoryRateLimiter({ clock: systemClock })
  rateLimitContract(() => limiter)
})

describeWithDebian(['redis-server'], 'in Redis', () => {
  let server: RedisServer
  let redis: Redis
  useRedis((made) => {
    server = made.server
    redis = made.redis
  })

  rateLimitContract(() => createRedisRateLimiter({ redis }))

  it('keeps no key longer than it says something', async () => {
    const limiter = createRedisRateLimiter({ redis })
    await limiter.take('short', { limit: 10, windowMs: 50 })
    await expect.poll(() => server.cli('exists', 'short'), PATIENCE).toBe('0\n')
  })

  it('begins anew after a flush', async () => {
    const limiter = createRedisRateLimiter({ redis })
    const once = { limit: 1, windowMs: 3_600_000 }
    await limiter.take('once', once)
    expect((await limiter.take('once', once)).allowed).toBe(false)
    await server.flush()
    expect((await limiter.take('once', once)).allowed).toBe(true)
  })
})

describeWithDebian(['redis-server'], 'in a Redis Cluster', () => {
  let end: () => Promise<void>
  let redis: Redis
  beforeAll(async () => {
    const cluster = await startRedisCluster()
    redis = await connectRedis(cluster.url)
    end = async () => {
      await redis.stop()
      await cluster.stop()
    }
  })
  afterAll(() => end())

  rateLimitContract(() => createRedisRateLimiter({ redis }))
})

describe('with a fallback', () => {
  const hourly = { limit: 10, windowMs: 3_600_000 }

  async function allowedOf(limiter: RateLimiter, uses: number): Promise<number> {
    let allowed = 0
    for (let use = 0; use < uses; use++) if ((await limiter.take('key', hourly)).allowed) allowed++
    return allowed
  }

  it('allows this process its part while the shared limiter fails, and asks that one again later', async () => {
    let now = 0
    let fails = true
    let asked = 0
    const clock = { mono: () => now }
    const real = createMemoryRateLimiter({ clock })
    const shared: RateLimiter = {
      async take(key, of) {
        asked++
        if (fails) throw new Error('no connection')
        return real.take(key, of)
      },
    }
    const own = createMemoryRateLimiter({ clock })
    const limiter = createFallbackRateLimiter({ shared, own, processes: () => 3, clock })
    expect(await allowedOf(limiter, 20)).toBe(3)
    expect(asked).toBe(1)
    fails = false
    now = 60_000
    expect(await allowedOf(limiter, 20)).toBe(10)
  })

  it('allows at least one use, however many processes there are', async () => {
    const own = createMemoryRateLimiter({ clock: systemClock })
    const limiter = createFallbackRateLimiter({ shared: undefined, own, processes: () => 50, clock: systemClock })
    expect(await allowedOf(limiter, 20)).toBe(1)
  })
})
