/** Puts the parts of the job system together. */
import type { Clock } from '../../kernel/clock.js'
import type { Logger } from '../../kernel/logger.js'
import type { Random } from '../../kernel/random.js'
import type { Service } from '../../kernel/service.js'
import type { Database } from '../database/database.js'
import { type CronTask, createCron, parseCron } from './cron.js'
import { defaultJobPolicy } from './job-policies.js'
import { deleteDeadJob, findDeadLetters, insertJobs, reviveJob } from './job-store.js'
import type { Dispatcher, JobHandler, JobKind, JobPolicy, Jobs } from './jobs.js'
import { createRunner } from './runner.js'
import { createSettler, type OnDead } from './settler.js'

export interface JobsOptions {
  readonly db: Database
  readonly dispatcher: Dispatcher
  /** Identity of this process: the UUID of its row in `process`. */
  readonly incarnation: string
  /**
   * Whether workers have rows in `process` and hold their advisory locks, so that the jobs of a dead one are taken over
   * within seconds. False behind a transaction pooler: then their claims must run out.
   */
  readonly advisoryLocks: boolean
  readonly leadership: { isLeader(): boolean }
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  /** Kinds not named here have `defaultJobPolicy`. */
  readonly policies?: Partial<Record<JobKind, JobPolicy>>
  /** In the transaction in which a job becomes a dead letter. */
  readonly onDead?: OnDead
  /** How long a stopping worker lets its handlers finish before it aborts them, in ms. Default: 10 s. */
  readonly drainMs?: number
  /** How often a worker looks for due jobs that nobody told it of, and for abandoned ones, in ms. Default: 2.5 s. */
  readonly sweepMs?: number
}

export interface JobSystem extends Jobs {
  /** Works the kinds that have a handler; starts and stops the dispatcher. */
  readonly runner: Service
  /** Runs the cron tasks while this process leads. */
  readonly scheduler: Service
}

const DRAIN_MS = 10_000
const SWEEP_MS = 2_500

export function createJobs(options: JobsOptions): JobSystem {
  const { db, policies = {}, onDead = async () => {}, drainMs = DRAIN_MS, sweepMs = SWEEP_MS } = options
  const handlers = new Map<JobKind, JobHandler>()
  const tasks: CronTask[] = []
  const policyOf = (kind: JobKind): JobPolicy => policies[kind] ?? defaultJobPolicy
  const settler = createSettler({ ...options, policyOf: ({ kind }) => policyOf(kind), onDead })
  const runner = createRunner({ ...options, settler, handlers, policyOf, drainMs, sweepMs })

  return {
    enqueue: (tx, job) => insertJobs(tx, [job]),
    enqueueAll: insertJobs,
    reserve: runner.reserve,
    work(kind, handler) {
      if (handlers.has(kind)) throw new Error(`${kind} has a handler already`)
      handlers.set(kind, handler)
    },
    cron(name, expression, task) {
      parseCron(expression)
      if (tasks.some((other) => other.name === name)) throw new Error(`there is a task ${name} already`)
      tasks.push({ name, expression, task })
    },
    deadLetters: (tenantId, page) => db.tenantTx(tenantId, (tx) => findDeadLetters(tx, tenantId, page)),
    retryDead: (tenantId, jobId) => db.tenantTx(tenantId, (tx) => reviveJob(tx, tenantId, jobId)),
    discardDead: (tenantId, jobId) => db.tenantTx(tenantId, (tx) => deleteDeadJob(tx, tenantId, jobId)),
    runner,
    scheduler: createCron({ ...options, tasks }),
  }
}
