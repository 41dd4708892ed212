/**
 * Jobs: units of queued work. `enqueue` inserts a row in the caller's transaction, so a job exists exactly when what it is
 * about exists. A job carries ids and nothing else; the handler reads the rest.
 *
 * Promises: a committed job runs at least once, again after a crash (the row's claim runs out, or its worker is seen to be
 * gone), on any replica; jobs of one key run one after another in order of enqueueing; after the kind's last attempt it is
 * kept as a dead letter. Does not promise exactly once: handlers are idempotent.
 *
 *   waiting ──first of its key──▶ ready ──claim──▶ running ──done / discard──▶ (row deleted)
 *                                   ▲                 ├──retry, attempts left──▶ ready (later)
 *                                   │                 ├──snooze──▶ ready (later, attempt not counted)
 *                                   │                 ├──claim ran out──▶ ready
 *                                   └─by hand── dead ◀┴──retry, none left
 */
import type { JobId, TenantId } from '../../kernel/ids.js'
import type { Service } from '../../kernel/service.js'
import type { Statement, Tx } from '../database/database.js'

export const jobKinds = [
  'fan-out',
  'deliver-webhook',
  'release-deliveries',
  'replay-deliveries',
  'fetch-media',
] as const
export type JobKind = (typeof jobKinds)[number]

export interface NewJob {
  readonly kind: JobKind
  readonly tenantId: TenantId
  /** UUID of the row that the job is about. */
  readonly id: string
  /**
   * Jobs of a tenant with the same key run one after another, of whatever kind; one that is retried or snoozed holds up
   * those behind it. The key is locked until the transaction ends: enqueue all keyed jobs of a transaction in one call.
   */
  readonly key?: string
  readonly dueAt?: Date
  /** At most one live job of the tenant per kind and this; a second enqueue is a no-op. */
  readonly dedupe?: string
  /** Tries that the work has used up already: the job goes on in its kind's schedule after them. */
  readonly triesUsed?: number
}

export interface Job {
  readonly jobId: JobId
  readonly kind: JobKind
  readonly tenantId: TenantId
  readonly id: string
  /** 1 at the first try. */
  readonly attempt: number
}

/** What a handler decided. A throw means retry. */
export type Fate =
  | { readonly fate: 'done' }
  | { readonly fate: 'retry'; readonly reason: string; readonly afterMs?: number }
  | { readonly fate: 'snooze'; readonly until: Date }
  | { readonly fate: 'discard'; readonly reason: string }

export const done = (): Fate => ({ fate: 'done' })
export const retry = (reason: string, afterMs?: number): Fate =>
  afterMs === undefined ? { fate: 'retry', reason } : { fate: 'retry', reason, afterMs }
export const snooze = (until: Date): Fate => ({ fate: 'snooze', until })
export const discard = (reason: string): Fate => ({ fate: 'discard', reason })

export type JobHandler = (job: Job, signal: AbortSignal) => Promise<Fate>

/** How jobs of one kind are worked, as data. */
export interface JobPolicy {
  readonly maxAttempts: number
  /** Delay before attempt n + 1 in ms; the last one repeats. Spread by ±20 %. */
  readonly retryDelaysMs: readonly number[]
  /** A handler that runs longer is aborted and retried; the claim lasts this long and a little more. */
  readonly timeoutMs: number
  /** Jobs of this kind at once, per process. */
  readonly concurrency: number
}

/** A job that a statement of the caller's inserted. */
export interface InsertedJob<Id extends string = string> {
  readonly jobId: JobId
  readonly tenantId: TenantId
  readonly id: Id
  /** Born claimed: it is to be begun here. */
  readonly claimed: boolean
}

/**
 * Free places of this process for jobs that are about to be inserted: so many of them are born claimed and begin here right
 * after the commit, without a wake-up and without a claim. Should the process die before, they are seen to be abandoned.
 */
export interface Reservation {
  /** A statement, or the end of one, that inserts a job for each row (tenant_id, subject_id) of `source`, as InsertedJobs. */
  insertFrom(source: Statement): Statement
  /** To be called once: begins what was born claimed and gives back the other places. Nothing was inserted: with none. */
  begin(inserted: readonly InsertedJob[]): void
}

export interface DeadLetter extends Job {
  readonly error: string
  readonly diedAt: Date
}

export interface Jobs {
  /** Inserts the job in the caller's transaction; a wake-up follows the commit. */
  enqueue(tx: Tx, job: NewJob): Promise<void>
  enqueueAll(tx: Tx, jobs: readonly NewJob[]): Promise<void>
  /** For jobs without a key, most of which can begin here. Places for `count` of them, or for as many as there are. */
  reserve(kind: JobKind, count: number): Reservation
  /** Registers the handler of a kind. Before `start`. */
  work(kind: JobKind, handler: JobHandler): void
  /** A task by cron expression, run by one process at a time, under the lease `scheduler`. Before `start`. */
  cron(name: string, expression: string, task: (signal: AbortSignal) => Promise<void>): void
  deadLetters(tenantId: TenantId, page: { limit: number; after?: JobId }): Promise<DeadLetter[]>
  /** Puts a dead letter back to ready with fresh attempts. False when there is none. */
  retryDead(tenantId: TenantId, jobId: JobId): Promise<boolean>
  discardDead(tenantId: TenantId, jobId: JobId): Promise<boolean>
}

/**
 * Carries "a job of this kind is due" to the runners, once the job is committed: to all of them, or to one that is free to
 * take it. Any wake-up may be lost or doubled: a sweep and the claim cover both. After each (re)connect all kinds are told.
 */
export interface Dispatcher extends Service {
  onWakeUp(listener: (kind: JobKind) => void): void
}
