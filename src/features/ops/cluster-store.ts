/** Who runs and who holds what. Processes belong to the operator; of the numbers' leases a tenant sees its own. */
import sql from 'sql-template-tag'
import type { InstanceId, TenantId } from '../../kernel/ids.js'
import type { Queryable } from '../../platform/database/database.js'

export interface ProcessRow {
  readonly incarnation: string
  readonly replica: string
  readonly role: string
  readonly slot: number
  readonly version: string
  readonly started_at: Date
  /** Null where the process holds no lock that could tell: then only the TTL of its leases does. */
  readonly alive: boolean | null
}

/** All processes that the database knows of, the dead among them until somebody has taken over what they held. */
export function listProcesses(db: Queryable): Promise<ProcessRow[]> {
  return db.query<ProcessRow>(sql`
    with held as materialized (
      select (classid::bigint << 32) | objid::bigint as lock from pg_locks
      where locktype = 'advisory' and objsubid = 1 and granted
        and database = (select oid from pg_database where datname = current_database())
    )
    select incarnation, replica, role, slot, version, started_at,
      case when incarnation_lock is not null
        then exists (select from held where held.lock = process.incarnation_lock) end as alive
    from process order by replica, role, slot, started_at`)
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
