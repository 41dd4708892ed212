/** What a cache keeps, wherever it keeps it. */
import { describe, expect, it } from 'vitest'
import { systemClock } from '../../kernel/clock.js'
import { createIdGenerator } from '../../kernel/ids.js'
import { type CacheKey, type CachePlace, createCache } from './cache.js'

const LONG_MS = 600_000
const ids = createIdGenerator()

export function cacheContract(place: () => CachePlace): void {
  describe('a cache', () => {
    const cacheOf = () => createCache({ place: place(), clock: systemClock })
    const newKey = (): CacheKey => ({ tenantId: ids.next('ten'), name: 'counts' })

    it('gives what was made, with its age, until it is forgotten', async () => {
      const [cache, key] = [cacheOf(), newKey()]
      let made = 0
      const make = async () => ({ made: ++made, of: ['é', null] })
      expect(await cache.remember(key, LONG_MS, make)).toMatchObject({ value: { made: 1, of: ['é', null] } })
      const again = await cache.remember(key, LONG_MS, make)
      expect(again).toEqual({ value: { made: 1, of: ['é', null] }, ageMs: expect.any(Number) })
      await cache.forget(key)
      expect((await cache.remember(key, LONG_MS, make)).value.made).toBe(2)
    })

    it('is one for all who use the same place', async () => {
      const key = newKey()
      await cacheOf().remember(key, LONG_MS, async () => 'made by another')
      await expect
        .poll(async () => (await cacheOf().remember(key, LONG_MS, async () => 'made here')).value)
        .toBe('made by another')
    })

    it('makes anew what is too old', async () => {
      const [cache, key] = [cacheOf(), newKey()]
      let made = 0
      await cache.remember(key, 30, async () => ++made)
      await expect.poll(async () => (await cache.remember(key, 30, async () => ++made)).value).toBeGreaterThan(1)
    })

    it('keeps tenants and names apart', async () => {
      const cache = cacheOf()
      const mine = newKey()
      await cache.remember(mine, LONG_MS, async () => 'mine')
      expect((await cache.remember(newKey(), LONG_MS, async () => 'theirs')).value).toBe('theirs')
      expect((await cache.remember({ ...mine, name: 'other' }, LONG_MS, async () => 'other')).value).toBe('other')
    })

    it('has a value made once for many who ask at once', async () => {
      const [cache, key] = [cacheOf(), newKey()]
      let made = 0
      const make = () => new Promise<number>((resolve) => setImmediate(() => resolve(++made)))
      const values = await Promise.all(Array.from({ length: 50 }, () => cache.remember(key, LONG_MS, make)))
      expect(new Set(values.map(({ value }) => value))).toEqual(new Set([1]))
    })

    it('keeps no failure', async () => {
      const [cache, key] = [cacheOf(), newKey()]
      await expect(cache.remember(key, LONG_MS, () => Promise.reject(new Error('no database')))).rejects.toThrow(
        'no database',
      )
      expect((await cache.remember(key, LONG_MS, async () => 'made')).value).toBe('made')
    })
  })
}
