/**
 * Which devices people have, for one connection. Baileys forgets this after 5 minutes, and asks for new prekeys of everybody
 * whenever it asks anew, so that a lively chat gathers sessions (up to 41, all of them rewritten with each message). Here it
 * is kept for an hour; WhatsApp tells of changes meanwhile, by `devices` notifications, which Baileys applies, or by naming
 * another device hash in its acknowledgement.
 */
import type { PossiblyExtendedCacheStore } from 'baileys'
import type { Clock } from '../../../kernel/clock.js'

export interface DeviceCache extends PossiblyExtendedCacheStore {
  /** By phone or LID, as Baileys asked. */
  has(user: string): boolean
}

const KEEP_MS = 60 * 60_000

interface Kept {
  readonly devices: unknown
  readonly untilMs: number
}

export function createDeviceCache(clock: Clock): DeviceCache {
  const kept = new Map<string, Kept>()

  function get<T>(user: string): T | undefined {
    const found = kept.get(user)
    if (!found || found.untilMs <= clock.mono()) return undefined
    return found.devices as T
  }

  function set(user: string, devices: unknown): void {
    const now = clock.mono()
    // The map is in the order of expiry: what is set goes to its end.
    kept.delete(user)
    kept.set(user, { devices, untilMs: now + KEEP_MS })
    for (const [oldest, { untilMs }] of kept) {
      if (untilMs > now) return
      kept.delete(oldest)
    }
  }

  return {
    get,
    set,
    has: (user) => get(user) !== undefined,
    del: (user) => void kept.delete(user),
    flushAll: () => kept.clear(),
    mget: async <T>(users: string[]) => Object.fromEntries(users.map((user) => [user, get<T>(user)])),
    mset: (entries) => {
      for (const { key, value } of entries) set(key, value)
    },
  }
}
