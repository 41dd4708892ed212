import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { describeWithDebian } from '../../../test/support/describe-with-debian.js'
import { connectRedis } from '../../../test/support/servers/connect-redis.js'
import { type RedisServer, startRedisCluster } from '../../../test/support/servers/redis.js'
import { useRedis } from '../../../test/support/servers/use-redis.js'
import { systemClock } from '../../kernel/clock.js'
import { createIdGenerator } from '../../kernel/ids.js'
import type { Redis } from '../redis/redis.js'
import { cacheContract } from './cache.contract.js'
import { createCache } from './cache.js'
import { createMemoryCache } from './memory.js'
import { createRedisCache } from './redis.js'

describe('in memory', () => {
  const place = createMemoryCache({ clock: systemClock })
  cacheContract(() => place)

  it('drops what was used least lately', async () => {
    const small = createMemoryCache({ clock: systemClock, maxEntries: 2 })
    await small.set('a', '1', 60_000)
    await small.set('b', '2', 60_000)
    await small.get('a')
    await small.set('c', '3', 60_000)
    expect([await small.get('a'), await small.get('b'), await small.get('c')]).toEqual(['1', undefined, '3'])
  })
})

describeWithDebian(['redis-server'], 'in Redis', () => {
  let server: RedisServer
  let redis: Redis
  useRedis((made) => {
    server = made.server
    redis = made.redis
  })

  cacheContract(() => createRedisCache({ redis }))

  it('makes values itself while Redis is gone, and asks it again later', async () => {
    let now = 0
    const clock = { ...systemClock, mono: () => now }
    const cache = createCache({ place: createRedisCache({ redis }), clock })
    const key = { tenantId: createIdGenerator().next('ten'), name: 'counts' }
    let made = 0
    const ask = async () => (await cache.remember(key, 60_000, async () => ++made)).value
    await server.kill()
    expect([await ask(), await ask()]).toEqual([1, 2])
    await server.restart()
    now = 60_000
    await expect
      .poll(async () => {
        now += 60_000
        const first = await ask()
        return (await ask()) - first
      })
      .toBe(0)
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

  cacheContract(() => createRedisCache({ redis }))
})
