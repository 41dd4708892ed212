/** Data keys as stored: wrapped by a key of the operator's. A row is never overwritten but by the same key wrapped anew. */
import sql from 'sql-template-tag'
import type { TenantId } from '../../kernel/ids.js'
import type { Queryable } from '../../platform/database/database.js'

export interface WrappedKey {
  readonly kekId: string
  readonly wrapped: Buffer
}

interface WrappedKeyRow {
  readonly kek_id: string
  readonly wrapped: Buffer
}

const toWrappedKey = (row: WrappedKeyRow): WrappedKey => ({ kekId: row.kek_id, wrapped: row.wrapped })

/** @param id the instance's UUID, or the tenant's for secrets of a tenant. */
export async function findDataKey(db: Queryable, tenantId: TenantId, id: string): Promise<WrappedKey | undefined> {
  const [row] = await db.query<WrappedKeyRow>(
    sql`select kek_id, wrapped from data_key where tenant_id = ${tenantId} and id = ${id}`,
    'find_data_key',
  )
  return row && toWrappedKey(row)
}

/** Keeps the key that is there: two processes that make one at once must agree on the first. */
export async function insertDataKey(db: Queryable, tenantId: TenantId, id: string, key: WrappedKey): Promise<void> {
  await db.execute(sql`
    insert into data_key (id, tenant_id, kek_id, wrapped)
    values (${id}, ${tenantId}, ${key.kekId}, ${key.wrapped})
    on conflict (id) do nothing`)
}

/** Replaces the wrapping, never the key: only where the row still holds what was unwrapped. */
export async function rewrapDataKey(
  db: Queryable,
  tenantId: TenantId,
  id: string,
  { from, to }: { readonly from: WrappedKey; readonly to: WrappedKey },
): Promise<void> {
  await db.execute(sql`
    update data_key set kek_id = ${to.kekId}, wrapped = ${to.wrapped}
    where tenant_id = ${tenantId} and id = ${id} and kek_id = ${from.kekId} and wrapped = ${from.wrapped}`)
}

/** One key per wrapping key in use, of any tenant, to try at start. */
export async function sampleDataKeys(
  db: Queryable,
): Promise<(WrappedKey & { readonly tenantId: TenantId; readonly id: string })[]> {
  const rows = await db.query<WrappedKeyRow & { tenant_id: TenantId; id: string }>(sql`
    select distinct on (kek_id) kek_id, wrapped, tenant_id, id from data_key order by kek_id, created_at desc`)
  return rows.map((row) => ({ ...toWrappedKey(row), tenantId: row.tenant_id, id: row.id }))
}
