/**
 * Works jobs: claims what is due, runs the handlers, settles their fates. For each kind one claim at a time, for as many
 * jobs as there are free places; what becomes free meanwhile goes into the next claim.
 *
 * Wake-ups only make it fast. Without any, a sweep finds everything that is due, and every claim that nobody will settle.
 */
import { randomUUID } from 'node:crypto'
import type { Clock } from '../../kernel/clock.js'
import { errorText, type Logger } from '../../kernel/logger.js'
import type { Random } from '../../kernel/random.js'
import type { Service } from '../../kernel/service.js'
import { type Database, isDatabaseUnavailable } from '../database/database.js'
import { execute, STOPPING } from './execute.js'
import { type ClaimedJob, type ClaimRequest, claimJobs, insertClaimed, notifyKinds } from './job-store.js'
import type { Dispatcher, JobHandler, JobKind, JobPolicy, Reservation } from './jobs.js'
import { release, type Settler } from './settler.js'
import { createStaleSweep } from './stale-sweep.js'

export interface RunnerOptions {
  readonly db: Database
  readonly dispatcher: Dispatcher
  readonly settler: Settler
  readonly handlers: ReadonlyMap<JobKind, JobHandler>
  readonly policyOf: (kind: JobKind) => JobPolicy
  /** Identity of this process: a UUID. */
  readonly incarnation: string
  readonly advisoryLocks: boolean
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  /** How long `stop` lets handlers finish before it aborts them, in ms. */
  readonly drainMs: number
  readonly sweepMs: number
}

export interface Runner extends Service {
  reserve(kind: JobKind, count: number): Reservation
}

/** The state of one kind. */
interface Desk {
  readonly kind: JobKind
  readonly policy: JobPolicy
  readonly handler: JobHandler
  running: number
  claiming: boolean
  /** Something may have become due since the claim under way began. */
  again: boolean
  /** The last claim may have left due jobs for want of places. */
  crowded: boolean
  /** Cancels the alarm for the next due job. */
  alarm: AbortController
}

const MAX_CLAIM = 100
const SWEEP_JITTER = 0.4
/** A claim outlasts its handler's time limit by this: to abort, to wait for the handler, and to settle. */
const CLAIM_MARGIN_MS = 10_000

export function createRunner(options: RunnerOptions): Runner {
  const { db, dispatcher, settler, handlers, policyOf, incarnation, clock, random, logger, drainMs, sweepMs } = options
  const desks = new Map<JobKind, Desk>()
  const inFlight = new Set<Promise<void>>()
  /** Stops claiming and sweeping. */
  const stopping = new AbortController()
  /** One for each handler that runs. Not derived from one signal: Node 20 would keep all of them for ever. */
  const handling = new Set<AbortController>()
  const sweepStale = createStaleSweep({ ...options, kinds: () => [...desks.keys()] })
  let sweeping: Promise<void> = Promise.resolve()
  let stopped: Promise<void> | undefined

  dispatcher.onWakeUp((kind) => wake(desks.get(kind)))

  return {
    reserve,
    async start() {
      for (const [kind, handler] of handlers) {
        const desk = { running: 0, claiming: false, again: false, crowded: false, alarm: new AbortController() }
        desks.set(kind, { kind, handler, policy: policyOf(kind), ...desk })
      }
      await dispatcher.start()
      sweeping = sweepForever()
    },
    stop() {
      stopped ??= stop()
      return stopped
    },
  }

  async function stop(): Promise<void> {
    stopping.abort()
    await dispatcher.stop()
    await sweeping
    for (const { alarm } of desks.values()) alarm.abort()
    const drained = new AbortController()
    const patience = clock.sleep(drainMs, drained.signal).then(
      () => {
        for (const controller of handling) controller.abort(STOPPING)
      },
      () => {},
    )
    await settleAll()
    drained.abort()
    await patience
  }

  /** A claim under way may still bring jobs. */
  async function settleAll(): Promise<void> {
    while (inFlight.size > 0) await Promise.all(inFlight)
  }

  async function sweepForever(): Promise<void> {
    while (!stopping.signal.aborted) {
      for (const desk of desks.values()) wake(desk)
      await guarded('looking for abandoned jobs failed', async () => wakeKinds(await sweepStale()))
      const pauseMs = sweepMs * (1 + SWEEP_JITTER * (2 * random() - 1))
      await clock.sleep(pauseMs, stopping.signal).catch(() => {})
    }
  }

  /** Kinds that are not worked here, or no longer, are for others. */
  async function wakeKinds(kinds: readonly JobKind[]): Promise<void> {
    const ours = (kind: JobKind) => desks.has(kind) && !stopping.signal.aborted
    for (const kind of kinds) wake(desks.get(kind))
    await notifyKinds(
      db,
      kinds.filter((kind) => !ours(kind)),
    )
  }

  function wake(desk: Desk | undefined): void {
    if (!desk || stopping.signal.aborted) return
    if (desk.claiming) desk.again = true
    else track(claim(desk))
  }

  async function claim(desk: Desk): Promise<void> {
    desk.claiming = true
    do {
      desk.again = false
      await guarded('claiming jobs failed', () => claimOnce(desk))
    } while (desk.again && !stopping.signal.aborted)
    desk.claiming = false
  }

  async function claimOnce(desk: Desk): Promise<void> {
    const { kind, policy } = desk
    const limit = Math.min(policy.concurrency - desk.running, MAX_CLAIM)
    desk.crowded = limit <= 0
    if (desk.crowded) return
    const request = claimFor(kind, limit, policy)
    const claimedAt = clock.mono()
    const { jobs, nextDueInMs } = await claimJobs(db, request)
    for (const job of jobs) track(run(desk, job, claimedAt + request.claimMs))
    if (jobs.length === limit) desk.again = true
    else if (nextDueInMs !== null) setAlarm(desk, nextDueInMs)
  }

  function claimFor(kind: JobKind, limit: number, { timeoutMs }: Pick<JobPolicy, 'timeoutMs'>): ClaimRequest {
    return { kind, limit, worker: incarnation, token: randomUUID(), claimMs: timeoutMs + CLAIM_MARGIN_MS }
  }

  /** None while jobs wait for a place, or may: those come first. */
  function placesAt(desk: Desk | undefined): number {
    if (!desk || desk.claiming || desk.crowded || stopping.signal.aborted) return 0
    return Math.max(0, desk.policy.concurrency - desk.running)
  }

  function reserve(kind: JobKind, count: number): Reservation {
    const desk = desks.get(kind)
    const places = Math.min(count, placesAt(desk))
    const claim = claimFor(kind, places, policyOf(kind))
    const claimedUntil = clock.mono() + claim.claimMs
    if (desk) desk.running += places
    return {
      insertFrom: (source) => insertClaimed(source, claim),
      begin(inserted) {
        if (!desk) return
        desk.running -= places
        for (const { claimed, ...job } of inserted) {
          const { token } = claim
          if (claimed) track(run(desk, { ...job, kind, token, attempt: 1, lane: null }, claimedUntil))
        }
        if (desk.crowded) wake(desk)
      },
    }
  }

  async function run(desk: Desk, job: ClaimedJob, claimedUntil: number): Promise<void> {
    const { handler, policy } = desk
    const controller = new AbortController()
    handling.add(controller)
    desk.running += 1
    let isOver = false
    try {
      const { timeoutMs } = policy
      // Claimed while the worker was told to stop: not begun at all.
      const settlement = stopping.signal.aborted
        ? release
        : await execute({ job, handler, timeoutMs, controller, clock, logger })
      const { ours, readied } = await settler.settle(job, settlement, claimedUntil)
      isOver = settlement.fate === 'done' || settlement.fate === 'discard'
      await wakeKinds(readied)
      if (!ours) logger.warn('JOB', 'a job was taken over before it was settled', { job: job.jobId, kind: job.kind })
    } catch (error) {
      logger.error('JOB', 'a job could not be settled', { job: job.jobId, kind: job.kind, error: errorText(error) })
    } finally {
      handling.delete(controller)
      desk.running -= 1
      // For the free place, where somebody may wait for it; and for the claim to learn when this job is due again.
      if (desk.crowded || !isOver) wake(desk)
    }
  }

  /** One alarm per kind, for what is due next. What is due beyond the next sweep is left to it. */
  function setAlarm(desk: Desk, inMs: number): void {
    desk.alarm.abort()
    if (inMs > 2 * sweepMs) return
    const alarm = new AbortController()
    desk.alarm = alarm
    void clock.sleep(Math.ceil(Math.max(inMs, 1)), alarm.signal).then(
      () => wake(desk),
      () => {},
    )
  }

  function track(work: Promise<void>): void {
    const tracked = work.finally(() => inFlight.delete(tracked))
    inFlight.add(tracked)
  }

  /** The database may be away: the sweep comes back, again and again. */
  async function guarded(what: string, work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      const level = isDatabaseUnavailable(error) ? 'warn' : 'error'
      logger[level]('JOB', what, { error: errorText(error) })
    }
  }
}
