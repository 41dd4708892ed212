/** Takes back claims that nobody will settle: those that ran out, and those of workers seen to be gone twice in a row. */
import type { Logger } from '../../kernel/logger.js'
import type { Database } from '../database/database.js'
import { findStaleClaims, type StaleClaim } from './job-store.js'
import type { JobKind } from './jobs.js'
import { abandoned, killer, type Settled, type Settler } from './settler.js'

const MAX_ABANDONED = 20

export interface StaleSweepOptions {
  readonly db: Database
  readonly settler: Settler
  readonly kinds: () => readonly JobKind[]
  readonly incarnation: string
  readonly advisoryLocks: boolean
  readonly logger: Logger
}

/** Each call is one look; it resolves to the kinds of jobs that became ready. */
export function createStaleSweep(options: StaleSweepOptions): () => Promise<JobKind[]> {
  const { db, settler, kinds, incarnation: self, advisoryLocks, logger } = options
  /** Tokens of claims whose worker was gone at the last look: once may be a reconnect after a restart of the database. */
  let suspects: ReadonlySet<string> = new Set()

  return async function sweepStale() {
    const claims = await findStaleClaims(db, { kinds: kinds(), self, advisoryLocks })
    const orphans = claims.filter(({ expired, token }) => expired || suspects.has(token))
    suspects = new Set(claims.map(({ token }) => token))
    report(orphans)
    const settled = await Promise.all(orphans.map(takeBack))
    return [...orphans.map(({ kind }) => kind), ...settled.flatMap(({ readied }) => readied)]
  }

  /** A worker takes hundreds of jobs with it: one line for each kind, not for each job. */
  function report(orphans: readonly StaleClaim[]): void {
    const counts = new Map<JobKind, number>()
    for (const { kind } of orphans) counts.set(kind, (counts.get(kind) ?? 0) + 1)
    for (const [kind, count] of counts) logger.warn('JOB', 'jobs were abandoned by their worker', { kind, count })
  }

  /** A kill says nothing about the job, so the try does not count; but a job that kills its workers must die in the end. */
  async function takeBack(claim: StaleClaim): Promise<Settled> {
    return settler.settle(claim, claim.abandonedCount + 1 < MAX_ABANDONED ? abandoned : killer, 0)
  }
}
