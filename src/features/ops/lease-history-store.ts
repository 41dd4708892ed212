/** Who held what. The rows are written by the statements that take and release leases. */
import sql from 'sql-template-tag'
import type { InstanceId, TenantId } from '../../kernel/ids.js'
import type { Queryable } from '../../platform/database/database.js'

export interface HolderHistoryRow {
  readonly epoch: bigint
  readonly replica: string | null
  readonly role: string | null
  readonly slot: number | null
  readonly taken_at: Date
  readonly how: string
  readonly ended_at: Date | null
  readonly why: string | null
}

/** Of an instance of the tenant, the newest first. `before`: only epochs below it. */
export function listHolders(
  db: Queryable,
  { tenantId, instanceId }: { readonly tenantId: TenantId; readonly instanceId: InstanceId },
  { before, limit }: { readonly before: bigint | undefined; readonly limit: number },
): Promise<HolderHistoryRow[]> {
  return db.query<HolderHistoryRow>(sql`
    select h.epoch, h.replica, h.role, h.slot, h.taken_at, h.how, h.ended_at, h.why
    from instance i join lease_history h on h.resource = 'instance:' || i.id
    where i.tenant_id = ${tenantId} and i.id = ${instanceId}
      and h.epoch < coalesce(${before ?? null}::bigint, 9223372036854775807)
    order by h.epoch desc limit ${limit}`)
}

/** Forgets what ended so long ago, orders that are over, and the drains of replicas that have not been seen since. */
export async function forgetPlacement(db: Queryable, days: number): Promise<void> {
  await db.execute(sql`
    with old_drains as (
      delete from replica_drain d where since < now() - make_interval(days => ${days})
        and not exists (select from process p where p.replica = d.replica)
    ), old_moves as (
      delete from lease_move where asked_at < now() - interval '1 day'
    )
    delete from lease_history where ended_at < now() - make_interval(days => ${days})`)
}
