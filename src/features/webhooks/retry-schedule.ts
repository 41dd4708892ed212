/** When a delivery is tried again: the schedule of Standard Webhooks, 75 hours and a little. Data, and its arithmetic. */
import type { Random } from '../../kernel/random.js'
import type { JobPolicy } from '../../platform/jobs/jobs.js'

const SECOND = 1_000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE

/** Delay in ms before try 2, 3, …; the first try is made at once. */
export const retryDelaysMs: readonly number[] = [
  5 * SECOND,
  5 * MINUTE,
  30 * MINUTE,
  2 * HOUR,
  5 * HOUR,
  10 * HOUR,
  14 * HOUR,
  20 * HOUR,
  24 * HOUR,
]

export const MAX_ATTEMPTS = retryDelaysMs.length + 1
/** A receiver that asks for more time than this is asked again after this. */
export const MAX_RETRY_AFTER_MS = 24 * HOUR
/** For one try, from the name look-up to the last byte of the answer that is read. */
export const ATTEMPT_TIMEOUT_MS = 15 * SECOND

const JITTER = 0.2

/**
 * The jobs of kind `deliver-webhook`. Many more run at once than are in flight: a job that waits for its endpoint's turn
 * costs nothing (see delivery-gate.ts).
 */
export const deliverWebhookPolicy: JobPolicy = {
  maxAttempts: MAX_ATTEMPTS,
  retryDelaysMs,
  timeoutMs: 2 * ATTEMPT_TIMEOUT_MS,
  concurrency: 256,
}

/** The delay in ms after try number `attempt` (1 = the first) failed, spread by ±20 %. Undefined after the last try. */
export function delayAfter(attempt: number, random: Random): number | undefined {
  const planned = retryDelaysMs[attempt - 1]
  return planned === undefined ? undefined : Math.round(planned * (1 + JITTER * (2 * random() - 1)))
}

/** `Retry-After` in ms from now, at most 24 hours; undefined when there is none that can be read. */
export function parseRetryAfter(header: string | undefined, nowMs: number): number | undefined {
  if (header === undefined) return undefined
  const text = header.trim()
  const ms = /^\d+$/.test(text) ? Number(text) * SECOND : Date.parse(text) - nowMs
  return Number.isNaN(ms) ? undefined : Math.min(Math.max(0, ms), MAX_RETRY_AFTER_MS)
}
