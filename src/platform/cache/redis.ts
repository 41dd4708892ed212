/** A cache that processes share. */
import type { Redis } from '../redis/redis.js'
import type { CachePlace } from './cache.js'

export function createRedisCache({ redis }: { readonly redis: Pick<Redis, 'run'> }): CachePlace {
  return {
    async get(key) {
      const text = await redis.run('get', key)
      return typeof text === 'string' ? text : undefined
    },
    async set(key, text, ttlMs) {
      await redis.run('set', key, text, 'PX', Math.max(1, Math.round(ttlMs)))
    },
    async delete(key) {
      await redis.run('del', key)
    },
  }
}
