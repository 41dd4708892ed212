/** The lease table: the authority on who holds what, and its history. Whoever locks several rows does so in the order of their resource. */
import sql from 'sql-template-tag'
import type { Queryable } from '../database/database.js'
import { heldLocks } from '../database/held-locks.js'
import { leasesOf } from './fence.js'
import type { Fence, Incarnation, LeaseRecord, ReleaseReason, Resource } from './lease.js'
import type { LeaseStore, TakeRequest } from './lease-store.port.js'

/** NOTIFY channel; the payload is the resource that was released. */
export const LEASE_CHANNEL = 'mirante_lease'

export interface LeaseStoreOptions {
  /** False behind a transaction pooler, where sessions and their locks mean nothing: then the TTL alone decides. */
  readonly advisoryLocks: boolean
}

export function createLeaseStore(db: Queryable, { advisoryLocks }: LeaseStoreOptions): LeaseStore {
  return {
    async poll(resources) {
      let records = await pollLeases(db, resources, advisoryLocks)
      // A row that another process was just creating is in neither snapshot; it is there now.
      if (records.length < new Set(resources).size) records = await pollLeases(db, resources, advisoryLocks)
      return records
    },
    take: (request) => takeLease(db, request),
    renew: (holder, fences) => renewLeases(db, holder, fences),
    release: (fence, why) => releaseLease(db, fence, why),
  }
}

/** A holder is gone when nobody has its advisory lock. */
async function pollLeases(db: Queryable, resources: readonly Resource[], locks: boolean): Promise<LeaseRecord[]> {
  return db.query<LeaseRecord>(
    sql`
      with wanted as materialized (
        select distinct resource from unnest(${resources}::text[]) as w (resource)
      ), created as (
        insert into lease (resource)
        select resource from wanted w where not exists (select from lease l where l.resource = w.resource)
        order by resource
        on conflict (resource) do nothing
        returning resource, holder, epoch, renew_seq
      ), alive as materialized (
        select lock from (${heldLocks}) as held where ${locks}
      )
      select l.resource, l.holder, l.epoch, l.renew_seq as "renewSeq",
        case when ${locks} and p.incarnation_lock is not null
          then not exists (select from alive where alive.lock = p.incarnation_lock) end as "holderGone",
        p.replica || '/' || p.role || '/' || p.slot as "holderName"
      from wanted join lease l using (resource) left join process p on p.incarnation = l.holder
      union all
      select resource, holder, epoch, renew_seq, null, null from created`,
    'lease-poll',
  )
}

/** The history may know this epoch already: a failover of PostgreSQL can lose the newest ones, which are then given again. */
async function takeLease(db: Queryable, request: TakeRequest): Promise<bigint | undefined> {
  const { resource, holder, token, seenEpoch, seenRenewSeq, how } = request
  const [taken] = await db.query<{ epoch: bigint }>(
    sql`
      with taken as (
        update lease set
          holder = ${holder}, epoch = epoch + 1, token = ${token}, renew_seq = renew_seq + 1, acquired_at = now()
        where resource = ${resource} and epoch = ${seenEpoch} and renew_seq = ${seenRenewSeq}
        returning resource, epoch
      ), ended as (
        update lease_history before set ended_at = now(), why = ${how}
        from taken where before.resource = taken.resource and before.epoch < taken.epoch and before.ended_at is null
      ), begun as (
        insert into lease_history as mine (resource, epoch, holder, replica, role, slot, how)
        select taken.resource, taken.epoch, ${holder}, p.replica, p.role, p.slot, ${how}
        from taken left join process p on p.incarnation = ${holder}
        on conflict (resource, epoch) do update set
          holder = excluded.holder, replica = excluded.replica, role = excluded.role, slot = excluded.slot,
          taken_at = now(), how = excluded.how, ended_at = null, why = null
      )
      select epoch from taken`,
    'lease-take',
  )
  return taken?.epoch
}

async function renewLeases(db: Queryable, holder: Incarnation, fences: readonly Fence[]): Promise<Set<Resource>> {
  const renewed = await db.query<{ resource: Resource }>(
    sql`
      with own as materialized (${leasesOf(fences)} for no key update of lease)
      update lease set renew_seq = renew_seq + 1
      from own where lease.resource = own.resource and lease.holder = ${holder}
      returning lease.resource`,
    'lease-renew',
  )
  return new Set(renewed.map(({ resource }) => resource))
}

async function releaseLease(db: Queryable, { resource, epoch, token }: Fence, why: ReleaseReason): Promise<void> {
  await db.query(
    sql`
      with freed as (
        update lease set holder = null, token = null, renew_seq = renew_seq + 1
        where resource = ${resource} and epoch = ${epoch} and token = ${token}
        returning resource
      ), ended as (
        update lease_history h set ended_at = now(), why = ${why}
        from freed where h.resource = freed.resource and h.epoch = ${epoch} and h.ended_at is null
      )
      select pg_notify(${LEASE_CHANNEL}, resource) from freed`,
    'lease-release',
  )
}
