/** How far each tenant's events have been published. Written under the fence of the relay's lease. */
import sql from 'sql-template-tag'
import type { TenantId } from '../../kernel/ids.js'
import type { Database, Queryable } from '../../platform/database/database.js'
import { FencedError, ownLeases } from '../../platform/leases/fence.js'
import type { Fence } from '../../platform/leases/lease.js'

export interface SinkPosition {
  readonly tenantId: TenantId
  /** Everything up to here has been published. */
  readonly after: bigint
}

/** The very first time: what was recorded before is not for the sink. */
export async function beginSink(db: Queryable): Promise<void> {
  await db.execute(sql`
    with begun as (insert into event_sink default values on conflict do nothing returning single)
    insert into event_sink_cursor (tenant_id, seq)
    select tenant_id, last_seq from event_counter where exists (select from begun)
    on conflict do nothing`)
}

/**
 * Tenants with events to publish that are not forgotten yet, at most so many; of these tenants, or of all. Drawn by lot: in any
 * fixed order, the busy ones could keep the last ones waiting for ever.
 */
export async function findBehind(
  db: Queryable,
  { tenants, limit }: { readonly tenants: readonly TenantId[] | 'all'; readonly limit: number },
): Promise<SinkPosition[]> {
  const among = tenants === 'all' ? sql`` : sql`and c.tenant_id = any (${tenants}::uuid[])`
  return db.query<SinkPosition>(sql`
    select c.tenant_id as "tenantId", greatest(s.seq, c.forgotten_seq)::bigint as after
    from event_counter c left join event_sink_cursor s using (tenant_id)
    where c.last_seq > greatest(s.seq, c.forgotten_seq) ${among}
    order by random() limit ${limit}`)
}

/** Throws FencedError. */
export async function moveSink(db: Pick<Database, 'query'>, fence: Fence, moved: readonly SinkPosition[]) {
  const own = await db.query(sql`
    with own as materialized (${ownLeases([fence])}),
    moved as (
      insert into event_sink_cursor as c (tenant_id, seq)
      select m.tenant_id, m.seq from own, unnest(
        ${moved.map(({ tenantId }) => tenantId)}::uuid[],
        ${moved.map(({ after }) => after)}::bigint[]) as m (tenant_id, seq)
      order by m.tenant_id
      on conflict (tenant_id) do update set seq = greatest(c.seq, excluded.seq)
    )
    select from own`)
  if (own.length === 0) throw new FencedError(fence.resource)
}
