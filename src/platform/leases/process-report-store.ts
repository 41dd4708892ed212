/** The reports of processes. */
import sql from 'sql-template-tag'
import type { Queryable } from '../database/database.js'
import type { Incarnation } from './lease.js'

export interface ProcessReport {
  readonly incarnation: Incarnation
  /** The schema version that its code wants. */
  readonly builtFor: number
  /** Null, like the two after it: it is no gateway. */
  readonly held: number | null
  readonly open: number | null
  readonly capacity: number | null
  readonly draining: boolean
  /** Null: not known yet. */
  readonly clockAheadMs: number | null
  readonly rssBytes: number
  readonly dependencies: readonly ReportedDependency[]
}

export interface ReportedDependency {
  readonly name: string
  readonly status: 'up' | 'degraded' | 'down'
  /** Their codes. */
  readonly problems: readonly string[]
}

/** Resolves to the database's time of it; undefined when the process has no row. */
export async function saveReport(db: Queryable, report: ProcessReport): Promise<Date | undefined> {
  const { incarnation, builtFor, held, open, capacity, draining, clockAheadMs, rssBytes, dependencies } = report
  const [row] = await db.query<{ reportedAt: Date }>(
    sql`
      insert into process_report as mine (
        incarnation, reported_at, built_for, held, open, capacity, draining, clock_ahead_ms, rss_bytes, dependencies)
      select incarnation, clock_timestamp(), ${builtFor}, ${held}, ${open}, ${capacity}, ${draining}, ${clockAheadMs},
        ${rssBytes}, ${JSON.stringify(dependencies)}::jsonb
      from process where incarnation = ${incarnation}
      on conflict (incarnation) do update set
        reported_at = excluded.reported_at, built_for = excluded.built_for, held = excluded.held, open = excluded.open,
        capacity = excluded.capacity, draining = excluded.draining, clock_ahead_ms = excluded.clock_ahead_ms,
        rss_bytes = excluded.rss_bytes, dependencies = excluded.dependencies
      returning reported_at as "reportedAt"`,
    'process-report',
  )
  return row?.reportedAt
}
