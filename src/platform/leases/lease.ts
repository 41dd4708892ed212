/**
 * A lease is the timed right of one process to act for one resource (`instance:<id>`, `scheduler`, `relay:…`).
 *
 * Promises: at most one holder per epoch; every write that carries the lease (see fence.ts) is refused once another process
 * has taken over, whatever the old holder's clock says. Does not promise: that a holder notices at once. Between losing the
 * lease and noticing it a process may think it holds; the fence, not the timing, is what keeps the data safe. The times below
 * only avoid churn.
 *
 *   free ──take (compare-and-swap: epoch + 1, new token)──▶ held ──renew (renew_seq + 1)──▶ held
 *   held ──release──▶ free      held ──unchanged for ttlMs, or holder's process gone──▶ may be taken by another
 *
 * Only locally observed changes and monotonic time are compared; no wall clock decides anything.
 */
import type { Brand } from '../../kernel/brand.js'
import type { InstanceId } from '../../kernel/ids.js'

export type Resource = Brand<string, 'resource'>
/** The random identity of one process from its start to its end. */
export type Incarnation = Brand<string, 'incarnation'>

export const instanceResource = (id: InstanceId): Resource => `instance:${id}` as Resource
export const schedulerResource = 'scheduler' as Resource

/** What a write must carry to be accepted. */
export interface Fence {
  readonly resource: Resource
  readonly epoch: bigint
  readonly token: string
}

/** A held lease, as its holder sees it. */
export interface Lease extends Fence {
  /** Whether new work may begin: the last successful renewal was sent recently enough. Monotonic time. */
  isTrusted(): boolean
  /** Aborted when the lease is lost, released, or can no longer be trusted. The reason says which. */
  readonly signal: AbortSignal
}

/** Why a process has a lease no longer. */
export type LossReason =
  /** A renewal found another epoch, another token or no holder: somebody has taken over. */
  | 'taken'
  /** A write was refused by the fence. */
  | 'fenced'
  /**
   * A write failed without saying whether it was made. It may still land, so nothing may be loaded and acted upon under the
   * same epoch again: the lease is given up, and taken anew under the next one.
   */
  | 'uncertain_write'
  /** No renewal has succeeded for `trustMs`. */
  | 'trust_expired'
  /** This process stood still for `maxLagMs`: what it believes is old. */
  | 'stalled'
  /** The holder gave it back. */
  | 'released'

/** How a lease could be taken: what the history tells of a take-over. */
export type TakeHow =
  /** Nobody had ever held it. */
  | 'free'
  /** The holder before had given it back. */
  | 'released'
  /** This process held it itself, and had lost or forfeited it. */
  | 'own'
  /** The holder's advisory lock was free: it is dead. */
  | 'dead'
  /** Unchanged for the TTL: the holder is frozen, cut off, or dead without a lock that could tell. */
  | 'expired'

/** Why a holder gave a lease back in peace. */
export type ReleaseReason =
  /** Its process stops. */
  | 'stopped'
  /** Nobody wants the resource held: the number was disabled or deleted. */
  | 'unwanted'
  /** Handed over, so that gateways hold about as many. */
  | 'balanced'
  /** Handed over, because an operator drains the replica. */
  | 'drained'
  /** Handed over, because an operator moved this one. */
  | 'moved'

/** What a lease's signal is aborted with. */
export class LeaseLostError extends Error {
  readonly resource: Resource
  readonly reason: LossReason

  constructor(resource: Resource, reason: LossReason) {
    super(`the lease of ${resource} has ended: ${reason}`)
    this.name = 'LeaseLostError'
    this.resource = resource
    this.reason = reason
  }
}

/** All derive from the TTL, with floors so that tests may scale it down without losing leases to a busy machine. */
export interface LeaseTerms {
  /** A record unchanged for this long may be taken over. */
  readonly ttlMs: number
  readonly renewEveryMs: number
  /** A renewal (or a take) that takes longer counts as failed. After a failure the next one follows this soon. */
  readonly renewTimeoutMs: number
  /** After the *sending* of the last successful renewal, the holder stops acting. Less than the TTL: the rest is the gap. */
  readonly trustMs: number
  /** No new work this long before the trust ends. */
  readonly marginMs: number
  readonly pollEveryMs: number
  readonly pollJitterMs: number
  /** A poll that takes longer counts as failed. */
  readonly pollTimeoutMs: number
  /**
   * A holder whose advisory lock is free at two polls this far apart is dead. Long enough for a living one to take its lock
   * again after a restart of PostgreSQL (it tries several times a second); the second poll is made as soon as it counts.
   */
  readonly goneMs: number
  /** A process that stood still for longer than this (frozen, suspended, starved) gives up all its leases. */
  readonly maxLagMs: number
}

/** Terms for a TTL in ms: renew at 2/9, trust 2/3, poll at 1/9 of it (45 s → 10 s, 30 s, 5 s). A dead holder's lock is free at any TTL. */
export function leaseTerms(ttlMs: number): LeaseTerms {
  const pollEveryMs = Math.max(250, ttlMs / 9)
  const pollJitterMs = Math.max(50, ttlMs / 45)
  return {
    ttlMs,
    renewEveryMs: Math.max(200, (ttlMs * 2) / 9),
    renewTimeoutMs: Math.max(500, (ttlMs * 2) / 45),
    trustMs: (ttlMs * 2) / 3,
    marginMs: ttlMs / 9,
    pollEveryMs,
    pollJitterMs,
    pollTimeoutMs: Math.max(1_000, ttlMs / 9),
    goneMs: 1_000,
    maxLagMs: Math.max(2_000, ttlMs / 3),
  }
}

/** One row of the lease table as a poll saw it. */
export interface LeaseRecord {
  readonly resource: Resource
  readonly holder: Incarnation | null
  readonly epoch: bigint
  readonly renewSeq: bigint
  /** Replica, role and slot of the holder, for people; null when there is none or it is not known any more. */
  readonly holderName: string | null
  /**
   * Whether the holder's advisory lock was free at this poll. Null when that says nothing: no holder, or a holder that has
   * no lock (transaction pooler) or is not known.
   */
  readonly holderGone: boolean | null
}

/** What this process remembers of a record between polls. */
export interface Observation {
  readonly record: LeaseRecord
  /** Monotonic ms at the end of the poll that first saw this (epoch, renewSeq). */
  readonly unchangedSince: number
  /** Monotonic ms at the end of the first of the polls in a row that found the holder's lock free; null: it was not. */
  readonly goneSince: number | null
}

/** Folds a poll that ended at `mono` into the memory. Pure. */
export function observe(before: Observation | undefined, record: LeaseRecord, mono: number): Observation {
  const same = before && before.record.epoch === record.epoch && before.record.renewSeq === record.renewSeq
  return {
    record,
    unchangedSince: same ? before.unchangedSince : mono,
    goneSince: record.holderGone ? ((same ? before.goneSince : null) ?? mono) : null,
  }
}

/** A poll failed: PostgreSQL may be restarting, and then every lock is free for a moment. Counting begins anew. Pure. */
export function doubt(observation: Observation): Observation {
  return { ...observation, goneSince: null }
}

export interface Taker {
  readonly self: Incarnation
  /** Monotonic ms at the *sending* of the poll whose record is judged: since then the record may have changed. */
  readonly mono: number
  readonly terms: LeaseTerms
}

/** How this process, which does not hold the lease, may try to take it now; undefined: it may not. Pure. */
export function howToTake(
  { record, unchangedSince, goneSince }: Observation,
  { self, mono, terms }: Taker,
): TakeHow | undefined {
  if (record.holder === null) return record.epoch === 0n ? 'free' : 'released'
  // An own lease that was given up, or a take whose answer was lost. The new epoch fences what is left of the old one.
  if (record.holder === self) return 'own'
  if (goneSince !== null && mono - goneSince >= terms.goneMs) return 'dead'
  return mono - unchangedSince >= terms.ttlMs ? 'expired' : undefined
}
