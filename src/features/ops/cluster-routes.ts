/** `/api/cluster`: which processes of Mirante run, what each of them holds, and how the servers are that they need. */
import { z } from 'zod'
import { publicId } from '../../kernel/ids.js'
import type { Database } from '../../platform/database/database.js'
import { type App, pageQuery } from '../../platform/http/route.js'
import { findClusterProblems } from './cluster-problems.js'
import { countWanted, findSchema, type LeaseRow, listLeases, listProcesses, type ProcessRow } from './cluster-store.js'
import type { DependencyChecks } from './dependency-checks.js'
import { dependencyView, showDependency } from './dependency-view.js'

const time = z.iso.datetime()

const processView = z.object({
  incarnation: z.string().meta({ description: 'One life of the process: a restart has another.' }),
  replica: z.string(),
  role: z.string(),
  slot: z.int(),
  version: z.string(),
  startedAt: time,
  alive: z
    .boolean()
    .nullable()
    .meta({ description: 'False: gone, and what it holds may be taken over. Null: nothing but the TTL can tell.' }),
  drained: z
    .boolean()
    .meta({ description: 'An operator drains its replica: it hands its numbers over and takes none.' }),
  report: z
    .object({
      ageMs: z.int().meta({ description: 'Since the process said so, by the clock of the database.' }),
      builtFor: z.int().meta({ description: 'The schema version that its code wants.' }),
      held: z.int().nullable().meta({ description: 'Numbers that it holds. Null: it is no gateway.' }),
      open: z.int().nullable().meta({ description: 'Of those, connected to WhatsApp.' }),
      capacity: z.int().nullable().meta({ description: 'What it would hold at most.' }),
      draining: z.boolean().meta({ description: 'It is on its way out.' }),
      clockAheadMs: z
        .number()
        .nullable()
        .meta({ description: 'How far its clock is ahead of the database. Nothing is decided by it.' }),
      rssBytes: z.number(),
      dependencies: z.array(
        z.object({
          name: z.string(),
          status: z.enum(['up', 'degraded', 'down']),
          problems: z.array(z.string()).meta({ description: 'Their codes.' }),
        }),
      ),
    })
    .nullable()
    .meta({ description: 'What the process last said of itself; null before it has.' }),
})

const problemView = z.object({ code: z.string(), found: z.string(), action: z.string() })

const holderView = z.object({
  incarnation: z.string(),
  replica: z.string().nullable(),
  role: z.string().nullable(),
  slot: z.int().nullable(),
  alive: z.boolean().nullable(),
})

const leaseView = z.object({
  resource: z.string().meta({ description: '`instance` or the name of a task, such as `scheduler`.' }),
  instanceId: z.string().nullable(),
  instanceName: z.string().nullable(),
  epoch: z.int().meta({ description: 'Grows by one whenever somebody takes it.' }),
  holder: holderView.nullable().meta({ description: 'Null: free.' }),
  acquiredAt: time.nullable(),
  ageMs: z.int().nullable().meta({ description: 'Since it was acquired, by the clock of the database.' }),
})

export interface ClusterRoutesDeps {
  readonly db: Database
  readonly dependencies: DependencyChecks
}

export function clusterRoutes({ db, dependencies }: ClusterRoutesDeps): (app: App) => void {
  return (app) => {
    app.get(
      '/api/cluster',
      {
        config: { scope: 'read' },
        schema: {
          tags: ['Cluster'],
          summary: 'Which processes run, who holds what, and how the servers are that they need',
          description:
            'All processes; all dependencies, as the process finds them that answers; a page of leases: those of your instances, and those of tasks of the whole cluster.',
          querystring: pageQuery,
          response: {
            200: z.object({
              schemaVersion: z.int(),
              problems: z.array(problemView).meta({ description: 'What is wrong with the cluster as a whole.' }),
              processes: z.array(processView),
              dependencies: z.array(dependencyView),
              leases: z.array(leaseView),
              nextCursor: z.string().nullable().meta({ description: 'For the next page of leases.' }),
            }),
          },
        },
      },
      async ({ auth: { tenantId }, query: { limit, cursor = '' } }) => {
        const [processes, schema, wantedCount, reports, found] = await Promise.all([
          listProcesses(db),
          findSchema(db),
          countWanted(db),
          dependencies.check(),
          listLeases(db, tenantId, { after: cursor, limit: limit + 1 }),
        ])
        const page = found.slice(0, limit)
        const { version: schemaVersion, works_with: oldestWorkingCode } = schema
        return {
          schemaVersion,
          problems: findClusterProblems({ processes, schemaVersion, oldestWorkingCode, wantedCount }),
          processes: processes.map(showProcess),
          dependencies: reports.map(showDependency),
          leases: page.map((lease) => showLease(lease, processes)),
          nextCursor: found.length > limit ? (page.at(-1)?.resource ?? null) : null,
        }
      },
    )
  }
}

function showProcess(row: ProcessRow): z.infer<typeof processView> {
  const { incarnation, replica, role, slot, version, started_at, alive, drained } = row
  const name = { incarnation, replica, role, slot }
  return { ...name, version, startedAt: started_at.toISOString(), alive, drained, report: showReport(row) }
}

function showReport(row: ProcessRow): z.infer<typeof processView>['report'] {
  const { report_age_ms: ageMs, held, open, capacity, clock_ahead_ms: clockAheadMs, dependencies } = row
  if (ageMs === null) return null
  return {
    ageMs: Math.max(0, Math.round(ageMs)),
    builtFor: row.built_for ?? 0,
    ...{ held, open, capacity, draining: row.draining === true },
    clockAheadMs: clockAheadMs === null ? null : Number(clockAheadMs),
    rssBytes: Number(row.rss_bytes ?? 0),
    dependencies: (dependencies ?? []).map(({ problems, ...dependency }) => ({
      ...dependency,
      problems: [...problems],
    })),
  }
}

function showLease(lease: LeaseRow, processes: readonly ProcessRow[]): z.infer<typeof leaseView> {
  const holder = processes.find(({ incarnation }) => incarnation === lease.holder)
  return {
    resource: lease.instance_id === null ? lease.resource : 'instance',
    instanceId: lease.instance_id === null ? null : publicId('ins', lease.instance_id),
    instanceName: lease.instance_name,
    epoch: Number(lease.epoch),
    holder: lease.holder === null ? null : showHolder(lease.holder, holder),
    acquiredAt: lease.acquired_at?.toISOString() ?? null,
    ageMs: lease.age_ms === null ? null : Math.round(lease.age_ms),
  }
}

/** A holder without a row has gone, and left nothing to say who it was. */
const showHolder = (incarnation: string, row: ProcessRow | undefined): z.infer<typeof holderView> => ({
  incarnation,
  replica: row?.replica ?? null,
  role: row?.role ?? null,
  slot: row?.slot ?? null,
  alive: row ? row.alive : false,
})
