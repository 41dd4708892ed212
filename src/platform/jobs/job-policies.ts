/** How jobs are worked where their feature says nothing else, as data. */
import type { Random } from '../../kernel/random.js'
import type { JobPolicy } from './jobs.js'

const SECOND = 1_000
const JITTER = 0.2

/** Three tries (seed 004). */
export const defaultJobPolicy: JobPolicy = {
  maxAttempts: 3,
  retryDelaysMs: [5 * SECOND, 30 * SECOND],
  timeoutMs: 30 * SECOND,
  concurrency: 10,
}

/** The delay in ms after try number `attempt` (1 = the first) failed. */
export function retryDelayMs(attempt: number, { retryDelaysMs }: JobPolicy, random: Random): number {
  const planned = retryDelaysMs[attempt - 1] ?? retryDelaysMs.at(-1) ?? SECOND
  return Math.round(planned * (1 + JITTER * (2 * random() - 1)))
}
