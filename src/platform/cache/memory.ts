/** A cache in the memory of this process: bounded, and what was used least lately goes first. */
import type { Clock } from '../../kernel/clock.js'
import type { CachePlace } from './cache.js'

export interface MemoryCacheOptions {
  readonly clock: Pick<Clock, 'mono'>
  /** @default 10000 */
  readonly maxEntries?: number
}

interface Kept {
  readonly text: string
  /** Monotonic ms. */
  readonly until: number
}

export function createMemoryCache({ clock, maxEntries = 10_000 }: MemoryCacheOptions): CachePlace {
  /** In the order of their last use. */
  const entries = new Map<string, Kept>()

  return {
    async get(key) {
      const kept = entries.get(key)
      entries.delete(key)
      if (!kept || kept.until <= clock.mono()) return undefined
      entries.set(key, kept)
      return kept.text
    },
    async set(key, text, ttlMs) {
      entries.delete(key)
      entries.set(key, { text, until: clock.mono() + ttlMs })
      for (const eldest of entries.keys()) {
        if (entries.size <= maxEntries) break
        entries.delete(eldest)
      }
    },
    async delete(key) {
      entries.delete(key)
    },
  }
}
