/** `/api/cluster`: which processes of Mirante run, and what each of them holds. */
import { z } from 'zod'
import { publicId } from '../../kernel/ids.js'
import type { Database } from '../../platform/database/database.js'
import { type App, pageQuery } from '../../platform/http/route.js'
import { type LeaseRow, listLeases, listProcesses, type ProcessRow } from './cluster-store.js'

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
})

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

export function clusterRoutes({ db }: { readonly db: Database }): (app: App) => void {
  return (app) => {
    app.get(
      '/api/cluster',
      {
        config: { scope: 'read' },
        schema: {
          tags: ['Cluster'],
          summary: 'Which processes run, and who holds what',
          description:
            'All processes; a page of leases: those of your instances, and those of tasks of the whole cluster.',
          querystring: pageQuery,
          response: {
            200: z.object({
              processes: z.array(processView),
              leases: z.array(leaseView),
              nextCursor: z.string().nullable().meta({ description: 'For the next page of leases.' }),
            }),
          },
        },
      },
      async ({ auth: { tenantId }, query: { limit, cursor = '' } }) => {
        const [processes, found] = await Promise.all([
          listProcesses(db),
          listLeases(db, tenantId, { after: cursor, limit: limit + 1 }),
        ])
        const page = found.slice(0, limit)
        return {
          processes: processes.map(showProcess),
          leases: page.map((lease) => showLease(lease, processes)),
          nextCursor: found.length > limit ? (page.at(-1)?.resource ?? null) : null,
        }
      },
    )
  }
}

const showProcess = ({ incarnation, replica, role, slot, version, started_at, alive }: ProcessRow) => ({
  incarnation,
  replica,
  role,
  slot,
  version,
  startedAt: started_at.toISOString(),
  alive,
})

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
