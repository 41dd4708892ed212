/** What every rate limiter keeps. */
import { randomUUID } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import type { Rate, RateLimiter } from './rate-limit.js'

/** Slow enough that nothing flows back during a test. */
const HOURLY: Rate = { limit: 5, windowMs: 3_600_000 }

export function rateLimitContract(limiter: () => RateLimiter): void {
  describe('a rate limiter', () => {
    const newKey = () => `rate:{${randomUUID()}}`

    it('allows the limit at once, and says how many remain', async () => {
      const key = newKey()
      const remaining = []
      for (let use = 0; use < 5; use++) {
        const decision = await limiter().take(key, HOURLY)
        expect(decision).toMatchObject({ allowed: true, retryAfterMs: 0 })
        remaining.push(decision.remaining)
      }
      expect(remaining).toEqual([4, 3, 2, 1, 0])
    })

    it('then refuses, and says when the next use and the whole allowance are there', async () => {
      const key = newKey()
      for (let use = 0; use < 5; use++) await limiter().take(key, HOURLY)
      const { allowed, remaining, retryAfterMs, resetMs } = await limiter().take(key, HOURLY)
      expect({ allowed, remaining }).toEqual({ allowed: false, remaining: 0 })
      expect(retryAfterMs).toBeGreaterThan(600_000)
      expect(retryAfterMs).toBeLessThanOrEqual(720_000)
      expect(resetMs).toBeGreaterThan(3_400_000)
      expect(resetMs).toBeLessThanOrEqual(3_600_000)
    })

    it('does not count what it refused', async () => {
      const key = newKey()
      const rate = { limit: 1, windowMs: 300 }
      await limiter().take(key, rate)
      await expect
        .poll(async () => (await limiter().take(key, rate)).allowed, { timeout: 20_000, interval: 10 })
        .toBe(true)
    })

    it('allows a burst that is smaller than the limit', async () => {
      const key = newKey()
      const rate = { limit: 100, windowMs: 3_600_000, burst: 2 }
      const allowed = []
      for (let use = 0; use < 3; use++) allowed.push((await limiter().take(key, rate)).allowed)
      expect(allowed).toEqual([true, true, false])
    })

    it('keeps keys apart', async () => {
      const key = newKey()
      for (let use = 0; use < 6; use++) await limiter().take(key, HOURLY)
      expect(await limiter().take(newKey(), HOURLY)).toMatchObject({ allowed: true, remaining: 4 })
    })

    it('never allows one too many, however many ask at once', async () => {
      const key = newKey()
      const rate = { limit: 100, windowMs: 3_600_000 }
      const decisions = await Promise.all(
        Array.from({ length: 20 }, async () => {
          const own = []
          for (let use = 0; use < 20; use++) own.push(await limiter().take(key, rate))
          return own
        }),
      )
      expect(decisions.flat().filter(({ allowed }) => allowed)).toHaveLength(100)
    })
  })
}
