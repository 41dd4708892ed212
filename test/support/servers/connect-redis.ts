import { silentLogger } from '../../../src/kernel/logger.js'
import { createIoRedis } from '../../../src/platform/redis/ioredis.js'
import type { Redis } from '../../../src/platform/redis/redis.js'
import { eventually } from '../eventually.js'

/** The product's own client, once it is connected. */
export async function connectRedis(url: string): Promise<Redis> {
  const redis = createIoRedis({ url, name: 'mirante test', logger: silentLogger, random: Math.random })
  await redis.start()
  await eventually(async () => redis.isReady, 'Redis is connected')
  return redis
}
