/**
 * How often something may be done: the generic cell rate algorithm. A key has one number, the time at which its allowance
 * will be whole again; each use moves it by one interval into the future, and is refused when it would lie further away than
 * the burst allows. So there is no window whose edge lets twice as many through, and nothing to count.
 *
 * Promises: what one limiter grants in a window never exceeds the burst and what flows back meanwhile, however many ask at
 * once. Does not promise to remember: a limiter that was restarted or wiped begins with the whole allowance.
 */
export interface Rate {
  /** So many uses … */
  readonly limit: number
  /** … in so many ms, evenly. */
  readonly windowMs: number
  /** So many at once. @default the limit */
  readonly burst?: number
}

export interface RateDecision {
  readonly allowed: boolean
  /** Uses that would be allowed now. */
  readonly remaining: number
  /** Until the whole burst is there again. */
  readonly resetMs: number
  /** Until the next use is allowed; 0 when this one was. */
  readonly retryAfterMs: number
}

export interface RateLimiter {
  /** Uses the key once if its rate allows it. Rejects when that cannot be known. */
  take(key: string, rate: Rate): Promise<RateDecision>
}

/** Time in ms of any clock that only goes forward. */
interface Cell {
  readonly now: number
  /** When the allowance is whole again, as the last use left it. */
  readonly wholeAt: number | undefined
}

/** The decision, and the cell's next `wholeAt`. Pure; the script of redis-rate-limit.ts is the same in Lua. */
export function decideRate({ limit, windowMs, burst = limit }: Rate, { now, wholeAt = now }: Cell) {
  const intervalMs = windowMs / limit
  const burstMs = intervalMs * burst
  // Further away than any use can have moved it: the clock was set back. It begins anew.
  const before = wholeAt > now + burstMs ? now : Math.max(wholeAt, now)
  const allowed = before + intervalMs - now <= burstMs
  const after = allowed ? before + intervalMs : before
  const decision: RateDecision = {
    allowed,
    remaining: Math.floor((burstMs - (after - now)) / intervalMs),
    resetMs: Math.ceil(after - now),
    retryAfterMs: allowed ? 0 : Math.ceil(before + intervalMs - burstMs - now),
  }
  return { decision, wholeAt: after }
}
