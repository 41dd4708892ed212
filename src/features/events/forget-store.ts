/**
 * Forgetting old events. The tenants' oldest positions are moved first, each in a statement of its own; what lies below them
 * is deleted afterwards, so whoever pulls sees a whole sequence or is told that its beginning is gone, never a hole.
 */
import sql from 'sql-template-tag'
import type { TenantId } from '../../kernel/ids.js'
import type { Queryable } from '../../platform/database/database.js'

const BATCH = 1_000

/**
 * Forgets events past their retention, of all tenants, with their deliveries. An event that an endpoint has not got yet
 * stays for as long as its delivery is tried, or its dead letter waits for a person. @returns how many went.
 */
export async function forgetEvents(db: Queryable, olderThanDays: number): Promise<number> {
  const tenants = await db.query<{ tenantId: TenantId }>(sql`select tenant_id as "tenantId" from event_counter`)
  let forgotten = 0
  for (const { tenantId } of tenants) {
    while (await moveOldest(db, tenantId, olderThanDays));
    for (let deleted = BATCH; deleted === BATCH; forgotten += deleted) deleted = await deleteForgotten(db, tenantId)
  }
  return forgotten
}

/** Moves the oldest position over what is too old, as far as it goes without a gap. False when there is no more. */
async function moveOldest(db: Queryable, tenantId: TenantId, olderThanDays: number): Promise<boolean> {
  const moved = await db.execute(sql`
    with page as materialized (
      select e.seq, e.created_at < now() - make_interval(days => ${olderThanDays}) as is_old
      from event e join event_counter c on c.tenant_id = e.tenant_id
      where e.tenant_id = ${tenantId} and e.seq > c.forgotten_seq order by e.seq limit ${BATCH}
    ), bound as (
      select coalesce(min(seq) filter (where not is_old) - 1, max(seq)) as seq from page
    )
    update event_counter c set forgotten_seq = bound.seq from bound
    where c.tenant_id = ${tenantId} and bound.seq > c.forgotten_seq`)
  return moved > 0
}

async function deleteForgotten(db: Queryable, tenantId: TenantId): Promise<number> {
  return db.execute(sql`
    with gone as materialized (
      select e.id from event e join event_counter c on c.tenant_id = e.tenant_id
      where e.tenant_id = ${tenantId} and e.seq <= c.forgotten_seq
        and not exists (select from delivery d where d.event_id = e.id and d.status in ('pending', 'exhausted'))
      limit ${BATCH}
    ), delivered as (
      delete from delivery where event_id = any (array(select id from gone))
    )
    delete from event where id = any (array(select id from gone))`)
}
