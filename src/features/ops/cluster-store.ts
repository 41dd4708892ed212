/** Who runs and who holds what. Processes belong to the operator; of the numbers' leases a tenant sees its own. */
import sql from 'sql-template-tag'
import type { InstanceId, TenantId } from '../../kernel/ids.js'
import type { Queryable } from '../../platform/database/database.js'
import { heldLocks } from '../../platform/database/held-locks.js'

export interface ProcessRow {
  readonly incarnation: string
  readonly replica: string
  readonly role: string
  readonly slot: number
  readonly version: string
  readonly started_at: Date
  /** Null where the process holds no lock that could tell: then only the TTL of its leases does. */
  readonly alive: boolean | null
  /** An operator drains its replica. */
  readonly drained: boolean
  /** Since its last report; null, like all below, when it has made none. */
  readonly report_age_ms: number | null
  readonly built_for: number | null
  /** Null in a report: it is no gateway. */
  readonly held: number | null
  readonly open: number | null
  readonly capacity: number | null
  readonly draining: boolean | null
  readonly clock_ahead_ms: bigint | null
  readonly rss_bytes: bigint | null
  readonly dependencies: readonly ReportedDependency[] | null
}

export interface ReportedDependency {
  readonly name: string
  readonly status: 'up' | 'degraded' | 'down'
  /** Their codes. */
  readonly problems: readonly string[]
}

/** All processes that the database knows of, the dead among them until somebody has taken over what they held. */
export function listProcesses(db: Queryable): Promise<ProcessRow[]> {
  return db.query<ProcessRow>(sql`
    with held as materialized (${heldLocks})
    select incarnation, replica, role, slot, version, started_at,
      case when incarnation_lock is not null
        then exists (select from held where held.lock = process.incarnation_lock) end as alive,
      exists (select from replica_drain d where d.replica = process.replica) as drained,
      (extract(epoch from clock_timestamp() - r.reported_at) * 1000)::float8 as report_age_ms,
      r.built_for, r.held, r.open, r.capacity, r.draining, r.clock_ahead_ms, r.rss_bytes, r.dependencies
    from process left join process_report r using (incarnation) order by replica, role, slot, started_at`)
}

export interface LeaseRow {
  readonly resource: string
  readonly holder: string | null
  readonly epoch: bigint
  readonly acquired_at: Date | null
  readonly age_ms: number | null
  readonly instance_id: InstanceId | null
  readonly instance_name: string | null
}

/** Leases of the tenant's instances, and those that belong to no tenant, by resource. */
export function listLeases(
  db: Queryable,
  tenantId: TenantId,
  { after, limit }: { readonly after: string; readonly limit: number },
): Promise<LeaseRow[]> {
  return db.query<LeaseRow>(sql`
    select l.resource, l.holder, l.epoch, case when l.holder is not null then l.acquired_at end as acquired_at,
      case when l.holder is not null
        then (extract(epoch from clock_timestamp() - l.acquired_at) * 1000)::float8 end as age_ms,
      i.id as instance_id, i.name as instance_name
    from lease l
    left join instance i on l.resource = 'instance:' || i.id::text and i.tenant_id = ${tenantId} and i.deleted_at is null
    where l.resource > ${after} and (i.id is not null or l.resource not like 'instance:%')
    order by l.resource limit ${limit}`)
}

/** Numbers that somebody should hold. Of all tenants: room is of the cluster. */
export async function countWanted(db: Queryable): Promise<number> {
  const [row] = await db.query<{ count: number }>(
    sql`select count(*)::int as count from instance where enabled and deleted_at is null`,
  )
  return row?.count ?? 0
}

export interface SchemaRow {
  /** The newest migration. */
  readonly version: number
  /** The oldest schema whose code works with this one. */
  readonly works_with: number
}

export async function findSchema(db: Queryable): Promise<SchemaRow> {
  const [row] = await db.query<SchemaRow>(sql`
    select coalesce(max(version), 0) as version, coalesce(max(coalesce(works_with, version)), 0) as works_with
    from schema_migration`)
  return row ?? { version: 0, works_with: 0 }
}
