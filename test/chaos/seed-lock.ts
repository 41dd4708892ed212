/**
 * The lock of seed 000 as it is drawn there: the key in Redis is the authority. Two replicas that only want one number; nothing
 * ever happens to either of them, so every change of the owner is one that Redis made up.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Redis } from '../../src/platform/redis/redis.js'

export interface SeedLock {
  /** How often another replica became the owner. */
  readonly changes: number
  stop(): Promise<void>
}

const KEY = 'wbot:mutex:26'
const REPLICAS = ['replica-1', 'replica-2'] as const
const ASK_EVERY_MS = 250

export function startSeedLock(redis: Pick<Redis, 'run'>, ttlMs: number): SeedLock {
  const renewEveryMs = (ttlMs * 2) / 9
  let owner: string | undefined
  let changes = 0
  let over = false
  const running = Promise.all(REPLICAS.map(live))

  return {
    get changes() {
      return changes
    },
    async stop() {
      over = true
      await running
    },
  }

  async function live(self: string): Promise<void> {
    while (!over) {
      // Redis that does not answer changes nothing: the seed goes on as it was.
      const everyMs = await act(self).catch(() => ASK_EVERY_MS)
      await sleep(everyMs)
    }
  }

  async function act(self: string): Promise<number> {
    if (owner === self && (await redis.run('get', KEY)) === self) {
      await redis.run('pexpire', KEY, ttlMs)
      return renewEveryMs
    }
    if ((await redis.run('set', KEY, self, 'PX', ttlMs, 'NX')) !== 'OK') return ASK_EVERY_MS
    if (owner !== undefined && owner !== self) changes++
    owner = self
    return renewEveryMs
  }
}
