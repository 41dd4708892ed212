/**
 * What a process says of itself, in one row: small, rewritten when something has changed and every `everyMs` at least. The
 * cluster view shows it, and gateways share the numbers by it. Nothing is unsafe when a report is missing, late or wrong:
 * who holds what is decided by leases alone.
 */
import type { Clock } from '../../kernel/clock.js'
import type { DependencyReport } from '../../kernel/dependency.js'
import { errorText, type Logger } from '../../kernel/logger.js'
import type { Random } from '../../kernel/random.js'
import type { Service } from '../../kernel/service.js'
import type { Queryable } from '../database/database.js'
import { alarmsOf, within } from './alarm.js'
import type { Incarnation, LeaseTerms } from './lease.js'
import { type ProcessReport, saveReport } from './process-report-store.js'

export interface ProcessReporterOptions {
  readonly db: Queryable
  readonly incarnation: Incarnation
  readonly terms: LeaseTerms
  /** The schema version that this code wants. */
  readonly builtFor: () => Promise<number>
  /** With the role gateway: the numbers that it holds, those connected of them, and how many it would hold at most. */
  readonly gateway: (() => { readonly held: number; readonly open: number; readonly capacity: number }) | undefined
  readonly isDraining: () => boolean
  readonly dependencies: () => readonly DependencyReport[]
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
}

/** So often it looks whether something has changed. */
const LOOK_EVERY_MS = 2_000
const ANSWER_TIMEOUT_MS = 2_000

export interface ProcessReporter extends Service {
  /** Says now what has changed. Never rejects, and takes seconds at most. Does nothing before the start. */
  report(): Promise<void>
}

export function createProcessReporter(options: ProcessReporterOptions): ProcessReporter {
  const { db, incarnation, terms, gateway, clock, random, logger } = options
  const setAlarm = alarmsOf(clock)
  const stopped = new AbortController()
  let running: Promise<void> | undefined
  let saved: { readonly said: string; readonly atMono: number } | undefined
  let clockAheadMs: number | null = null
  let failed = false

  return {
    async start() {
      await reportSafely()
      running ??= reportForEver()
    },
    async stop() {
      stopped.abort()
      await running
    },
    report: async () => (running ? reportSafely() : undefined),
  }

  async function reportForEver(): Promise<void> {
    const pauseMs = Math.min(LOOK_EVERY_MS, reportEveryMs(terms) / 2)
    while (!stopped.signal.aborted) {
      await clock.sleep(pauseMs * (0.9 + 0.1 * random()), stopped.signal).catch(() => {})
      if (!stopped.signal.aborted) await reportSafely()
    }
  }

  async function reportSafely(): Promise<void> {
    try {
      await report()
      failed = false
    } catch (error) {
      if (!failed) logger.warn('LEASE', 'this process cannot report; trying on', { error: errorText(error) })
      failed = true
    }
  }

  async function report(): Promise<void> {
    const facts = await look()
    const said = JSON.stringify([facts, clockAheadMs === null])
    if (saved?.said === said && clock.mono() - saved.atMono < reportEveryMs(terms)) return
    const [sentAt, sentMono] = [clock.now(), clock.mono()]
    const rssBytes = process.memoryUsage.rss()
    const row = { incarnation, ...facts, clockAheadMs, rssBytes }
    const reportedAt = await within(setAlarm, ANSWER_TIMEOUT_MS, saveReport(db, row))
    // Without a row in `process` there is nobody to report; it is made again with the lock.
    if (!reportedAt) return
    const tookMs = clock.mono() - sentMono
    saved = { said, atMono: sentMono }
    clockAheadMs = Math.round(sentAt + tookMs / 2 - reportedAt.getTime())
  }

  async function look(): Promise<Omit<ProcessReport, 'incarnation' | 'clockAheadMs' | 'rssBytes'>> {
    const { held, open, capacity } = gateway?.() ?? { held: null, open: null, capacity: null }
    const dependencies = options.dependencies().map(({ name, status, problems }) => {
      return { name, status, problems: problems.map(({ code }) => code) }
    })
    return { builtFor: await options.builtFor(), held, open, capacity, draining: options.isDraining(), dependencies }
  }
}

/** At the latest. Scaled with the TTL, so that the report of a frozen process is old before its leases are. */
export const reportEveryMs = ({ renewEveryMs }: LeaseTerms): number => Math.min(10_000, renewEveryMs)
