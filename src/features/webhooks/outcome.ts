/** What an answer, or its absence, means for a delivery. Pure. */
import type { Random } from '../../kernel/random.js'
import type { EgressFailure } from '../../platform/egress/egress-error.js'
import { delayAfter, parseRetryAfter } from './retry-schedule.js'

/** What came of one try. */
export type Answer =
  | { readonly status: number; readonly headers: Readonly<Record<string, string>> }
  | { readonly failure: EgressFailure }

export type Outcome =
  | { readonly result: 'delivered' }
  /** The receiver says that the endpoint is gone for good. */
  | { readonly result: 'gone'; readonly error: string }
  | { readonly result: 'retry'; readonly error: string; readonly afterMs: number }
  /** That was the last try. */
  | { readonly result: 'exhausted'; readonly error: string }

export interface Try {
  /** 1 at the first try. */
  readonly attempt: number
  readonly nowMs: number
  readonly random: Random
}

const GONE = 410

export function judge(answer: Answer, { attempt, nowMs, random }: Try): Outcome {
  const error = errorOf(answer)
  if (error === undefined) return { result: 'delivered' }
  if ('status' in answer && answer.status === GONE) return { result: 'gone', error }
  const delayMs = delayAfter(attempt, random)
  if (delayMs === undefined) return { result: 'exhausted', error }
  // Never before the receiver asks for it; and never before the schedule either, or a receiver that always says "in one
  // second" would use up ten tries in ten seconds.
  return { result: 'retry', error, afterMs: Math.max(delayMs, retryAfterMs(answer, nowMs)) }
}

/** Only 2xx is a success: a redirect is not followed, since it would send the tenant's data somewhere unregistered. */
function errorOf(answer: Answer): string | undefined {
  if ('failure' in answer) return answer.failure
  return answer.status >= 200 && answer.status < 300 ? undefined : `http_${answer.status}`
}

const retryAfterMs = (answer: Answer, nowMs: number): number =>
  'status' in answer ? (parseRetryAfter(answer.headers['retry-after'], nowMs) ?? 0) : 0
