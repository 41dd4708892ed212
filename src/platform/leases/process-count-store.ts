/** How many processes of a role live. */
import sql from 'sql-template-tag'
import type { Queryable } from '../database/database.js'
import { heldLocks } from '../database/held-locks.js'

/** Those whose advisory lock is held; behind a transaction pooler, where there is none, those that have not said goodbye. */
export async function countLivingProcesses(db: Queryable, role: string): Promise<number> {
  const [row] = await db.query<{ count: number }>(
    sql`
      with held as materialized (${heldLocks})
      select count(*)::int as count from process
      where role = ${role} and (incarnation_lock is null or incarnation_lock in (select lock from held))`,
    'count-living-processes',
  )
  return row?.count ?? 0
}
