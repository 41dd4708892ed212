/** The rate limiter of one process: exact there, and unknown to every other. */
import type { Clock } from '../../kernel/clock.js'
import { decideRate, type RateLimiter } from './rate-limit.js'

/** Above this many keys, those whose allowance is whole are forgotten: they are as if they had never been. */
const TIDY_ABOVE = 10_000

export function createMemoryRateLimiter({ clock }: { readonly clock: Pick<Clock, 'mono'> }): RateLimiter {
  const wholeAt = new Map<string, number>()
  let tidyAbove = TIDY_ABOVE

  return {
    async take(key, rate) {
      const now = clock.mono()
      const cell = decideRate(rate, { now, wholeAt: wholeAt.get(key) })
      wholeAt.set(key, cell.wholeAt)
      if (wholeAt.size > tidyAbove) tidy(now)
      return cell.decision
    },
  }

  function tidy(now: number): void {
    for (const [key, at] of wholeAt) if (at <= now) wholeAt.delete(key)
    // Not again with the next one, where many are in use.
    tidyAbove = Math.max(TIDY_ABOVE, 2 * wholeAt.size)
  }
}
