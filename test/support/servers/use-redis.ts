/** For tests over a real Redis: a server and a connection to it, made for the suite and gone after it. */
import { afterAll, beforeAll } from 'vitest'
import type { Redis } from '../../../src/platform/redis/redis.js'
import { connectRedis } from './connect-redis.js'
import { type RedisServer, startRedis } from './redis.js'

/** @param begin before the first test, with what is new */
export function useRedis(begin: (made: { readonly server: RedisServer; readonly redis: Redis }) => void): void {
  let server: RedisServer | undefined
  let redis: Redis | undefined
  beforeAll(async () => {
    server = await startRedis()
    redis = await connectRedis(server.url)
    begin({ server, redis })
  })
  afterAll(async () => {
    await redis?.stop()
    await server?.stop()
  })
}
