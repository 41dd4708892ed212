/**
 * The shared limiter while it answers, and this process's own part of the limit while it does not: a limit that is less exact
 * is better than none, and than refusing everybody.
 */
import type { Clock } from '../../kernel/clock.js'
import type { Rate, RateLimiter } from './rate-limit.js'

export interface FallbackRateLimiterOptions {
  /** Absent: the processes share nothing. */
  readonly shared: RateLimiter | undefined
  readonly own: RateLimiter
  /** How many processes answer now: each allows its part. */
  readonly processes: () => number
  readonly clock: Pick<Clock, 'mono'>
}

/** After a failure the shared one is left alone for as long, so that a server that hangs does not hold up each request. */
const REST_MS = 2_000

export function createFallbackRateLimiter(options: FallbackRateLimiterOptions): RateLimiter {
  const { shared, own, processes, clock } = options
  let restingUntil = Number.NEGATIVE_INFINITY

  return {
    async take(key, rate) {
      if (shared && clock.mono() >= restingUntil) {
        try {
          return await shared.take(key, rate)
        } catch {
          restingUntil = clock.mono() + REST_MS
        }
      }
      return own.take(key, partOf(rate, processes()))
    },
  }
}

/** One use per window at least, or a small limit would become none. */
function partOf({ limit, windowMs, burst = limit }: Rate, processes: number): Rate {
  const part = (whole: number): number => Math.max(1, Math.floor(whole / Math.max(1, processes)))
  return { limit: part(limit), windowMs, burst: part(burst) }
}
