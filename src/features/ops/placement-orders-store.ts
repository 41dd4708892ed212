/** What an operator orders of who holds what. Every order wakes the gateways (NOTIFY `mirante_lease`). */
import sql from 'sql-template-tag'
import type { InstanceId, TenantId } from '../../kernel/ids.js'
import type { Queryable, Tx } from '../../platform/database/database.js'
import { instanceResource } from '../../platform/leases/lease.js'

/** Resolves to since when it is drained. */
export async function drainReplica(db: Queryable, replica: string): Promise<Date | undefined> {
  const [row] = await db.query<{ since: Date }>(sql`
    with drained as (
      insert into replica_drain (replica) values (${replica})
      on conflict (replica) do update set replica = excluded.replica
      returning since
    )
    select since, pg_notify('mirante_lease', '') from drained`)
  return row?.since
}

/** False: it was not drained. */
export async function undrainReplica(db: Queryable, replica: string): Promise<boolean> {
  const rows = await db.query(sql`
    with undrained as (delete from replica_drain where replica = ${replica} returning replica)
    select pg_notify('mirante_lease', '') from undrained`)
  return rows.length > 0
}

export interface ReplicaRow {
  /** Processes that the database knows of. */
  readonly processes: number
  /** Numbers that they hold. */
  readonly held: number
  readonly drained: boolean
}

export async function findReplica(db: Queryable, replica: string): Promise<ReplicaRow> {
  const [row] = await db.query<ReplicaRow>(sql`
    select (select count(*)::int from process where replica = ${replica}) as processes,
      (select count(*)::int from lease join process on incarnation = holder
        where replica = ${replica} and resource like 'instance:%') as held,
      exists (select from replica_drain where replica = ${replica}) as drained`)
  return row ?? { processes: 0, held: 0, drained: false }
}

export interface HolderRow {
  readonly epoch: bigint
  /** Null: nobody. */
  readonly holder: string | null
  readonly replica: string | null
}

/** Undefined: the tenant has no such instance, or nobody has ever held it. */
export async function findHolder(db: Queryable, tenantId: TenantId, id: InstanceId): Promise<HolderRow | undefined> {
  const [row] = await db.query<HolderRow>(sql`
    select l.epoch, l.holder, p.replica
    from instance i join lease l on l.resource = 'instance:' || i.id left join process p on p.incarnation = l.holder
    where i.tenant_id = ${tenantId} and i.id = ${id} and i.deleted_at is null`)
  return row
}

export interface NewMove {
  readonly instanceId: InstanceId
  readonly epoch: bigint
  readonly fromHolder: string
  readonly toReplica: string | null
}

/** Takes the place of an earlier order for the same number. */
export async function insertMove(tx: Tx, { instanceId, epoch, fromHolder, toReplica }: NewMove): Promise<void> {
  await tx.query(sql`
    with ordered as (
      insert into lease_move (resource, epoch, from_holder, to_replica)
      values (${instanceResource(instanceId)}, ${epoch}, ${fromHolder}, ${toReplica})
      on conflict (resource) do update set
        epoch = excluded.epoch, from_holder = excluded.from_holder, to_replica = excluded.to_replica, asked_at = now()
      returning resource
    )
    select pg_notify('mirante_lease', resource) from ordered`)
}
