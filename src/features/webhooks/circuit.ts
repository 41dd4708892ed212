/**
 * An endpoint's circuit: whether it is worth calling now. The state is a row that all workers share. What opens it is what one
 * worker saw within a minute; or failures in a row, which are counted in that row, so that they add up over workers and over
 * their deaths: an endpoint that lets every call time out is else never found out by workers that live for a minute.
 *
 *   closed ──many failures, or all of them──▶ open ──one delivery, every half minute──▶ half_open
 *     ▲                                        ▲                                          │   │
 *     │                                        └───────────────it failed, or was lost─────┘   │
 *     └───────────────────────────────────any success─────────────────────────────────────────┘
 *
 * While it is not closed, what comes due is put aside (see release-deliveries.ts) and loses no try. A probe is a try like any
 * other: it is one of a delivery that is due, and keeps to that delivery's schedule.
 */
import type { Clock } from '../../kernel/clock.js'
import type { DeliveryId, WebhookId } from '../../kernel/ids.js'

export const circuitStates = ['closed', 'open', 'half_open'] as const
export type CircuitState = (typeof circuitStates)[number]

export interface Circuit {
  readonly state: CircuitState
  readonly openedAt: Date | null
  /** Open: when the next probe may be made. Half-open: until when its end is waited for. */
  readonly probeAt: Date | null
  readonly probeDeliveryId: DeliveryId | null
  /** The first failure since the last success. */
  readonly failingSince: Date | null
  /** Failures since then. */
  readonly failureCount: number
}

/** Of an endpoint that never failed. */
export const closedCircuit: Circuit = {
  state: 'closed',
  openedAt: null,
  probeAt: null,
  probeDeliveryId: null,
  failingSince: null,
  failureCount: 0,
}

const SECOND = 1_000
const DAY = 86_400 * SECOND

/** When circuits open, are probed, and when an endpoint is given up. */
export const circuitPolicy = {
  windowMs: 60 * SECOND,
  /** Tries within the window before a circuit may open, and the share of them that must have failed. */
  minTries: 10,
  badShare: 0.7,
  /** Failures without a success between them after which it opens, however long they took and whoever saw them. */
  failuresInARow: 10,
  probeEveryMs: 30 * SECOND,
  /** A probe that has not ended after this is lost: another one is made. */
  probeTimeoutMs: 60 * SECOND,
  /** An endpoint that has failed for so long, and at least so often, without one success is disabled. */
  disableAfterMs: 5 * DAY,
  disableAfterFailures: 10,
} as const

/** Whether an endpoint that still fails is given up. Pure. */
export function isHopeless(
  { failingSince, failureCount }: { readonly failingSince: Date; readonly failureCount: number },
  nowMs: number,
): boolean {
  const { disableAfterMs, disableAfterFailures } = circuitPolicy
  return failureCount >= disableAfterFailures && nowMs - failingSince.getTime() >= disableAfterMs
}

/** Whether an endpoint that still fails has its circuit opened, however long that took. Pure. */
export const failsInARow = ({ failureCount }: { readonly failureCount: number }): boolean =>
  failureCount >= circuitPolicy.failuresInARow

/** Tries of a few seconds. */
interface Bucket {
  readonly since: number
  good: number
  bad: number
}

export interface TryCounter {
  /** Counts a try; true when the circuit is to be opened for it. Counting then begins anew. */
  count(endpointId: WebhookId, succeeded: boolean): boolean
}

const BUCKET_MS = 5 * SECOND
/** Endpoints that rest are forgotten when more than this many are known. */
const REMEMBERED = 1_000

/** What this process has seen of each endpoint within the window, in buckets, so that a busy endpoint costs no memory. */
export function createTryCounter(clock: Pick<Clock, 'mono'>): TryCounter {
  const seen = new Map<WebhookId, Bucket[]>()

  return {
    count(endpointId, succeeded) {
      const now = clock.mono()
      const buckets = recent(seen.get(endpointId) ?? [], now)
      if (!seen.has(endpointId) && seen.size >= REMEMBERED) forgetRested(now)
      seen.set(endpointId, buckets)
      const bucket = latest(buckets, now)
      if (succeeded) bucket.good += 1
      else bucket.bad += 1
      if (succeeded || !isBad(buckets)) return false
      seen.delete(endpointId)
      return true
    },
  }

  function forgetRested(now: number): void {
    for (const [endpointId, buckets] of seen) if (recent(buckets, now).length === 0) seen.delete(endpointId)
  }
}

const recent = (buckets: Bucket[], now: number): Bucket[] =>
  buckets.filter(({ since }) => since > now - circuitPolicy.windowMs)

function latest(buckets: Bucket[], now: number): Bucket {
  const last = buckets.at(-1)
  if (last && now - last.since < BUCKET_MS) return last
  const bucket = { since: now, good: 0, bad: 0 }
  buckets.push(bucket)
  return bucket
}

function isBad(buckets: readonly Bucket[]): boolean {
  const bad = buckets.reduce((sum, bucket) => sum + bucket.bad, 0)
  const tries = buckets.reduce((sum, bucket) => sum + bucket.good, bad)
  return tries >= circuitPolicy.minTries && bad >= circuitPolicy.badShare * tries
}
