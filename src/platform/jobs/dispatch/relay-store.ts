/** What the relay of wake-ups asks of the database. */
import sql from 'sql-template-tag'
import type { InstanceId } from '../../../kernel/ids.js'
import type { Queryable } from '../../database/database.js'

export interface HeldInstance {
  readonly instanceId: InstanceId
  readonly holder: string
}

/** Who holds these instances now; those that nobody holds are left out. */
export async function findHolders(db: Queryable, instanceIds: readonly InstanceId[]): Promise<HeldInstance[]> {
  const resources = instanceIds.map((id) => `instance:${id}`)
  return db.query<HeldInstance>(
    sql`
      select substring(resource from length('instance:') + 1) as "instanceId", holder::text as holder from lease
      where resource = any (${resources}::text[]) and holder is not null`,
    'wake-up-holders',
  )
}

/** Tells this installation from others that use the same broker. */
export async function readNamespace(db: Queryable): Promise<string> {
  const [row] = await db.query<{ id: string }>(sql`
    with made as (insert into installation default values on conflict do nothing returning id)
    select id from made union all select id from installation limit 1`)
  // Somebody else has just made it, after this statement began.
  return row ? row.id.slice(0, 8) : readNamespace(db)
}
