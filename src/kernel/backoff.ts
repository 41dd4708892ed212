import type { Random } from './random.js'

export interface Backoff {
  readonly baseMs: number
  readonly factor: number
  readonly maxMs: number
  /** Part of the delay that is random, 0 to 1: 0.2 spreads by ±20 %. */
  readonly jitter: number
}

/** The delay in ms before try number `attempt` (0 = the first retry). Pure. */
export function backoffMs(attempt: number, { baseMs, factor, maxMs, jitter }: Backoff, random: Random): number {
  const planned = Math.min(baseMs * factor ** Math.max(0, attempt), maxMs)
  return Math.max(0, Math.round(planned * (1 + jitter * (2 * random() - 1))))
}
