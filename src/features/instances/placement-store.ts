/** What gateways know of each other, and what operators have said of who should hold what. */
import sql from 'sql-template-tag'
import type { InstanceId } from '../../kernel/ids.js'
import type { Queryable } from '../../platform/database/database.js'
import { heldLocks } from '../../platform/database/held-locks.js'
import type { Incarnation, Resource } from '../../platform/leases/lease.js'
import type { GatewayLoad } from './placement.js'

/**
 * Gateways that are alive, as far as locks tell, and have reported within `freshMs`; with what they hold by the lease table.
 */
export function findGateways(db: Queryable, freshMs: number): Promise<GatewayLoad[]> {
  return db.query<GatewayLoad>(
    sql`
      with alive as materialized (${heldLocks}), load as materialized (
        select holder, count(*)::int as held from lease
        where holder is not null and resource like 'instance:%' group by holder
      )
      select p.incarnation as id, p.replica, coalesce(load.held, 0) as held, r.capacity,
        not r.draining and not exists (select from replica_drain d where d.replica = p.replica) as takes,
        (extract(epoch from clock_timestamp() - p.started_at) * 1000)::float8 as "ageMs"
      from process p join process_report r using (incarnation) left join load on load.holder = p.incarnation
      where r.capacity is not null and r.reported_at > clock_timestamp() - make_interval(secs => ${freshMs / 1_000})
        and (p.incarnation_lock is null or exists (select from alive where alive.lock = p.incarnation_lock))
      order by p.incarnation`,
    'find_gateways',
  )
}

export async function isDrained(db: Queryable, replica: string): Promise<boolean> {
  const rows = await db.query(sql`select from replica_drain where replica = ${replica}`, 'is_drained')
  return rows.length > 0
}

export interface MoveOrder {
  readonly resource: Resource
  /** It holds for this epoch alone. */
  readonly epoch: bigint
  readonly fromHolder: Incarnation
  /** Null: whoever has room. */
  readonly toReplica: string | null
}

/** Orders that are not carried out yet and not forgotten. */
export function findMoves(db: Queryable): Promise<MoveOrder[]> {
  return db.query<MoveOrder>(
    sql`
      select m.resource, m.epoch, m.from_holder as "fromHolder", m.to_replica as "toReplica"
      from lease_move m join lease l on l.resource = m.resource and l.epoch = m.epoch
      where m.asked_at > now() - interval '2 minutes'`,
    'find_moves',
  )
}

/** Those of the instances that another process holds and that are not on their way to be connected any more. */
export async function findUpElsewhere(
  db: Queryable,
  self: Incarnation,
  instanceIds: readonly InstanceId[],
): Promise<InstanceId[]> {
  const rows = await db.query<{ id: InstanceId }>(
    sql`
      select i.id from instance i join lease l on l.resource = 'instance:' || i.id
      where i.id = any(${instanceIds}::uuid[]) and l.holder <> ${self}
        and i.connection_status not in ('INITIALIZING', 'LOADING', 'RECONNECTING')`,
    'find_up_elsewhere',
  )
  return rows.map(({ id }) => id)
}
