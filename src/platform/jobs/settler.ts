/**
 * Writes down what became of claimed jobs. Fates that arrive together travel together. The claim's token makes writing
 * twice harmless, so a lost database is waited for, as long as the claim lasts.
 */
import type { Clock } from '../../kernel/clock.js'
import type { Logger } from '../../kernel/logger.js'
import type { Random } from '../../kernel/random.js'
import { createBatcher } from '../database/batcher.js'
import { type Database, isDatabaseUnavailable, type Tx } from '../database/database.js'
import { retryDelayMs } from './job-policies.js'
import {
  buryJob,
  type ClaimedJob,
  type ClaimKey,
  deleteJobs,
  type Reschedule,
  releaseLane,
  rescheduleJobs,
} from './job-store.js'
import type { DeadLetter, Fate, JobKind, JobPolicy } from './jobs.js'

/** What happens when a job dies, in the transaction of its death. */
export type OnDead = (tx: Tx, job: DeadLetter) => Promise<void>

/** Beside what a handler may decide: it was cut short by us, and the try does not count. */
export type Settlement =
  | Fate
  | { readonly fate: 'release' }
  /** Its worker was lost with it; ready again, and the try does not count. */
  | { readonly fate: 'abandoned' }
  /** Its workers were lost with it too often. */
  | { readonly fate: 'killer' }
export const release: Settlement = { fate: 'release' }
export const abandoned: Settlement = { fate: 'abandoned' }
export const killer: Settlement = { fate: 'killer' }

export interface SettlerOptions {
  readonly db: Database
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly policyOf: (job: ClaimedJob) => JobPolicy
  readonly onDead: OnDead
}

export interface Settled {
  /** Whether the claim still held; otherwise nothing was written. */
  readonly ours: boolean
  /** Kinds of jobs that waited for this one and are ready now: nobody else was told of them. */
  readonly readied: readonly JobKind[]
}

export interface Settler {
  /** Gives up at `untilMono`, when the claim has run out anyway. */
  settle(job: ClaimedJob, settlement: Settlement, untilMono: number): Promise<Settled>
}

const MAX_BATCH = 200
const RETRY_MS = 250
const MAX_ERROR_LENGTH = 300

export function createSettler({ db, clock, random, logger, policyOf, onDead }: SettlerOptions): Settler {
  const deletions = createBatcher<ClaimKey, Settled>({
    flush: async (keys) => {
      const deleted = await deleteJobs(db, keys)
      return keys.map(({ jobId }) => ({ ours: deleted.has(jobId), readied: [] }))
    },
    maxItems: MAX_BATCH,
  })
  const reschedules = createBatcher<Reschedule, Settled>({
    flush: async (changes) => {
      const changed = await rescheduleJobs(db, changes)
      return changes.map(({ jobId }) => ({ ours: changed.has(jobId), readied: [] }))
    },
    maxItems: MAX_BATCH,
  })

  return {
    async settle(job, settlement, untilMono) {
      for (;;) {
        try {
          return await write(job, settlement)
        } catch (error) {
          if (!isDatabaseUnavailable(error) || clock.mono() + RETRY_MS > untilMono) throw error
          await clock.sleep(RETRY_MS)
        }
      }
    },
  }

  function write(job: ClaimedJob, settlement: Settlement): Promise<Settled> {
    switch (settlement.fate) {
      case 'done':
        return remove(job)
      case 'discard':
        logger.info('JOB', 'job discarded', { job: job.jobId, kind: job.kind, reason: settlement.reason })
        return remove(job)
      case 'release':
        return reschedule(job, { delayMs: 0, counts: false })
      case 'abandoned':
        return reschedule(job, { error: 'abandoned by its worker', counts: false, abandoned: true })
      case 'killer':
        return bury(job, 'abandoned by its workers again and again')
      case 'snooze':
        return reschedule(job, { dueAt: settlement.until, counts: false })
      case 'retry':
        return retry(job, settlement.reason.slice(0, MAX_ERROR_LENGTH), settlement.afterMs)
    }
  }

  function remove(job: ClaimedJob): Promise<Settled> {
    const { lane } = job
    if (lane === null) return deletions.add(job)
    return db.tx(async (tx) => {
      const deleted = await deleteJobs(tx, [job])
      return deleted.size > 0 ? { ours: true, readied: await releaseLane(tx, lane) } : lost
    })
  }

  function retry(job: ClaimedJob, error: string, afterMs: number | undefined): Promise<Settled> {
    const policy = policyOf(job)
    if (job.attempt >= policy.maxAttempts) return bury(job, error)
    const delayMs = afterMs ?? retryDelayMs(job.attempt, policy, random)
    logger.info('JOB', 'job failed and will be tried again', { ...fieldsOf(job), delayMs, reason: error })
    return reschedule(job, { delayMs, error, counts: true })
  }

  async function bury(job: ClaimedJob, error: string): Promise<Settled> {
    const settled = await db.tx(async (tx) => {
      const letter = await buryJob(tx, job, error)
      if (!letter) return lost
      await onDead(tx, letter)
      return { ours: true, readied: job.lane === null ? [] : await releaseLane(tx, job.lane) }
    })
    if (settled.ours) logger.warn('JOB', 'job failed for the last time', { ...fieldsOf(job), reason: error })
    return settled
  }

  function reschedule(
    { jobId, token }: ClaimedJob,
    change: Partial<Reschedule> & Pick<Reschedule, 'counts'>,
  ): Promise<Settled> {
    return reschedules.add({ jobId, token, delayMs: 0, dueAt: null, error: null, abandoned: false, ...change })
  }
}

const lost: Settled = { ours: false, readied: [] }

const fieldsOf = ({ jobId, kind, id, attempt }: ClaimedJob) => ({ job: jobId, kind, subject: id, attempt })
