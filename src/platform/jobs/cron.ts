/**
 * Tasks by cron expression, in UTC. Run by the process that leads; leadership only avoids churn: what makes a tick run once
 * is the compare-and-swap on the schedule's row.
 *
 * Promises: each tick is run by one process at a time; a tick whose process died, or whose task failed, is run again; ticks
 * that passed while nobody led are made up for by one run. A task's signal is aborted when its claim on the tick is lost.
 */
import { randomUUID } from 'node:crypto'
import { Cron } from 'croner'
import type { Clock } from '../../kernel/clock.js'
import { errorText, type Logger } from '../../kernel/logger.js'
import type { Random } from '../../kernel/random.js'
import type { Service } from '../../kernel/service.js'
import type { Database } from '../database/database.js'
import {
  claimTick,
  ensureSchedule,
  extendTick,
  failTick,
  findSchedules,
  finishTick,
  type TickClaim,
} from './schedule-store.js'

export interface CronTask {
  readonly name: string
  readonly expression: string
  readonly task: (signal: AbortSignal) => Promise<void>
}

export interface CronOptions {
  readonly db: Database
  readonly tasks: readonly CronTask[]
  readonly leadership: { isLeader(): boolean }
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
}

interface Tick {
  readonly seen: Date
  readonly dueAt: Date
  readonly controller: AbortController
}

const POLL_MS = 1_000
const POLL_JITTER = 0.2
/** How long after a crash the tick may be run by another. */
const CLAIM_MS = 30_000
const EXTEND_MS = 10_000
const FAILURE_PAUSE_MS = 30_000

/** Throws on an expression that says nothing. */
export function parseCron(expression: string): (after: Date) => Date | undefined {
  const cron = new Cron(expression, { paused: true, timezone: 'UTC' })
  return (after) => cron.nextRun(after) ?? undefined
}

export function createCron({ db, tasks, leadership, clock, random, logger }: CronOptions): Service {
  const stopping = new AbortController()
  const running = new Map<string, { readonly done: Promise<void>; readonly controller: AbortController }>()
  let loop: Promise<void> = Promise.resolve()

  return {
    async start() {
      loop = pollForever()
    },
    async stop() {
      stopping.abort()
      await loop
      for (const { controller } of running.values()) controller.abort(new Error('the scheduler is stopping'))
      await Promise.all([...running.values()].map(({ done }) => done))
    },
  }

  async function pollForever(): Promise<void> {
    while (!stopping.signal.aborted) {
      if (leadership.isLeader()) {
        await poll().catch((error: unknown) => {
          logger.warn('JOB', 'looking at the schedule failed', { error: errorText(error) })
        })
      }
      await clock.sleep(POLL_MS * (1 + POLL_JITTER * (2 * random() - 1)), stopping.signal).catch(() => {})
    }
  }

  async function poll(): Promise<void> {
    const idle = tasks.filter(({ name }) => !running.has(name))
    const rows = await findSchedules(
      db,
      idle.map(({ name }) => name),
    )
    const lastDue = new Map(rows.map(({ name, lastDueAt }) => [name, lastDueAt]))
    for (const task of idle) {
      const seen = lastDue.get(task.name)
      if (!seen) await ensureSchedule(db, task.name, new Date(clock.now()))
      else begin(task, seen)
    }
  }

  function begin(task: CronTask, seen: Date): void {
    const dueAt = latestDue(parseCron(task.expression), seen, clock.now())
    if (!dueAt) return
    const controller = new AbortController()
    const done = runTick(task, { seen, dueAt, controller })
      .catch((error: unknown) => {
        logger.error('JOB', 'a scheduled task failed', { task: task.name, error: errorText(error) })
      })
      .finally(() => running.delete(task.name))
    running.set(task.name, { done, controller })
  }

  async function runTick({ name, task }: CronTask, { seen, dueAt, controller }: Tick): Promise<void> {
    const claim = { name, token: randomUUID() }
    if (!(await claimTick(db, claim, { seen, claimMs: CLAIM_MS }))) return
    const over = new AbortController()
    const keeping = keep(claim, over.signal, controller)
    try {
      await task(controller.signal)
      await finishTick(db, claim, dueAt)
    } catch (error) {
      await failTick(db, claim, stopping.signal.aborted ? 0 : FAILURE_PAUSE_MS)
      throw error
    } finally {
      over.abort()
      await keeping
    }
  }

  async function keep(claim: TickClaim, over: AbortSignal, controller: AbortController): Promise<void> {
    for (;;) {
      try {
        await clock.sleep(EXTEND_MS, over)
      } catch {
        return
      }
      const kept = await extendTick(db, claim, CLAIM_MS).catch(() => false)
      if (!kept) return controller.abort(new Error('the claim on the tick was lost'))
    }
  }
}

/** The last tick after `seen` that is due, so that missed ones are made up for by one run. Pure. */
export function latestDue(next: (after: Date) => Date | undefined, seen: Date, now: number): Date | undefined {
  const first = next(seen)
  if (!first || first.getTime() > now) return undefined
  // Doubling steps back from now: a year of missed minutes must not be counted one by one.
  for (let spanMs = 1_000; now - spanMs > first.getTime(); spanMs *= 2) {
    const found = lastWithin(next, new Date(now - spanMs), now)
    if (found) return found
  }
  return lastWithin(next, first, now) ?? first
}

function lastWithin(next: (after: Date) => Date | undefined, from: Date, now: number): Date | undefined {
  let last: Date | undefined
  for (let at = next(from); at && at.getTime() <= now; at = next(at)) last = at
  return last
}
