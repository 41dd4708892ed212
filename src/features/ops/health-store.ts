/** What the health routes read. */
import sql from 'sql-template-tag'
import type { InstanceId, TenantId } from '../../kernel/ids.js'
import type { Queryable, Tx } from '../../platform/database/database.js'

/** Whether this database takes writes: a standby and one that is out of space do not. */
export async function isWritable(db: Queryable): Promise<boolean> {
  const [row] = await db.query<{ writable: boolean }>(
    sql`select not pg_is_in_recovery() and current_setting('default_transaction_read_only') = 'off' as writable`,
  )
  return row?.writable === true
}

export interface StatusCount {
  readonly connection_status: string
  readonly count: number
}

export function countInstancesByStatus(tx: Tx, tenantId: TenantId): Promise<StatusCount[]> {
  return tx.query<StatusCount>(sql`
    select connection_status, count(*)::int as count from instance
    where tenant_id = ${tenantId} and deleted_at is null group by connection_status`)
}

export interface InstanceHealthRow {
  readonly id: InstanceId
  readonly name: string
  readonly enabled: boolean
  readonly connection_status: string
  readonly reason: string | null
  readonly status_since: Date
  readonly last_seen_at: Date | null
}

export function listInstanceHealth(tx: Tx, tenantId: TenantId): Promise<InstanceHealthRow[]> {
  return tx.query<InstanceHealthRow>(sql`
    select id, name, enabled, connection_status, reason, status_since, last_seen_at from instance
    where tenant_id = ${tenantId} and deleted_at is null order by id`)
}
