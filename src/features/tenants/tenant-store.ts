import sql from 'sql-template-tag'
import type { TenantId } from '../../kernel/ids.js'
import type { Queryable } from '../../platform/database/database.js'
import { DEFAULT_TENANT_ID, DEFAULT_TENANT_NAME } from './tenant.js'

/** Makes the default tenant when there is none. At every start, before anything else. */
export async function ensureDefaultTenant(db: Queryable): Promise<TenantId> {
  await db.execute(sql`
    insert into tenant (id, name) values (${DEFAULT_TENANT_ID}, ${DEFAULT_TENANT_NAME}) on conflict (id) do nothing`)
  return DEFAULT_TENANT_ID
}
