/** One run of one job's handler: its time limit, its abortion, and what a throw means. */
import type { Clock } from '../../kernel/clock.js'
import { AppError } from '../../kernel/errors.js'
import { errorText, type Logger } from '../../kernel/logger.js'
import { isDatabaseUnavailable } from '../database/database.js'
import type { ClaimedJob } from './job-store.js'
import { type JobHandler, retry, snooze } from './jobs.js'
import { release, type Settlement } from './settler.js'

export interface Execution {
  readonly job: ClaimedJob
  readonly handler: JobHandler
  readonly timeoutMs: number
  /** Of this run. Aborted here when the time is up, and by the runner, with `STOPPING`, when the process stops. */
  readonly controller: AbortController
  readonly clock: Clock
  readonly logger: Logger
}

export const STOPPING = new Error('the worker is stopping')
const TIMED_OUT = new Error('timed out')
/** A handler that does not heed its signal is left to itself after this. */
const ABORT_GRACE_MS = 5_000
const DATABASE_PAUSE_MS = 2_000

export async function execute({ job, handler, timeoutMs, controller, clock, logger }: Execution): Promise<Settlement> {
  const { signal } = controller
  const over = new AbortController()
  const timer = clock.sleep(timeoutMs, over.signal).then(
    () => controller.abort(TIMED_OUT),
    () => {},
  )
  try {
    return await Promise.race([handled(), abandoned()])
  } finally {
    over.abort()
    await timer
  }

  async function handled(): Promise<Settlement> {
    try {
      const { jobId, kind, tenantId, id, attempt } = job
      return await handler({ jobId, kind, tenantId, id, attempt }, signal)
    } catch (error) {
      if (signal.aborted) return cutShort()
      // Our own trouble, and no try of the job.
      if (isDatabaseUnavailable(error)) return snooze(new Date(clock.now() + DATABASE_PAUSE_MS))
      logger.error('JOB', 'a job failed', { job: job.jobId, kind: job.kind, error: errorText(error) })
      return retry(error instanceof AppError ? `${error.code}: ${error.message}` : errorText(error))
    }
  }

  /** Settled while its handler may still be running: as after a crash, the next run may overlap with the rest of it. */
  async function abandoned(): Promise<Settlement> {
    const options = { once: true, signal: over.signal }
    await new Promise((resolve) => signal.addEventListener('abort', resolve, options))
    await clock.sleep(ABORT_GRACE_MS, over.signal).catch(() => {})
    return cutShort()
  }

  function cutShort(): Settlement {
    return signal.reason === STOPPING ? release : retry('timed out')
  }
}
