/** The lease table: the authority on who holds what. Whoever locks several rows does so in the order of their resource. */
import sql from 'sql-template-tag'
import type { Queryable } from '../database/database.js'
import { leasesOf } from './fence.js'
import type { Fence, Incarnation, LeaseRecord, Resource } from './lease.js'
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
    release: (fence) => releaseLease(db, fence),
  }
}

/**
 * A holder is gone when nobody has its advisory lock. Looked up in pg_locks: trying to take the lock would make this process
 * look like the holder for a moment, to others who poll at the same time.
 */
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
        select (classid::bigint << 32) | objid::bigint as lock from pg_locks
        where ${locks} and locktype = 'advisory' and objsubid = 1 and granted
          and database = (select oid from pg_database where datname = current_database())
      )
      select l.resource, l.holder, l.epoch, l.renew_seq as "renewSeq",
        case when ${locks} and p.incarnation_lock is not null
          then not exists (select from alive where alive.lock = p.incarnation_lock) end as "holderGone"
      from wanted join lease l using (resource) left join process p on p.incarnation = l.holder
      union all
      select resource, holder, epoch, renew_seq, null from created`,
    'lease-poll',
  )
}

async function takeLease(db: Queryable, request: TakeRequest): Promise<bigint | undefined> {
  const [taken] = await db.query<{ epoch: bigint }>(
    sql`
      update lease set
        holder = ${request.holder}, epoch = epoch + 1, token = ${request.token}, renew_seq = renew_seq + 1,
        acquired_at = now()
      where resource = ${request.resource} and epoch = ${request.seenEpoch} and renew_seq = ${request.seenRenewSeq}
      returning epoch`,
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

async function releaseLease(db: Queryable, { resource, epoch, token }: Fence): Promise<void> {
  await db.query(
    sql`
      with freed as (
        update lease set holder = null, token = null, renew_seq = renew_seq + 1
        where resource = ${resource} and epoch = ${epoch} and token = ${token}
        returning resource
      )
      select pg_notify(${LEASE_CHANNEL}, resource) from freed`,
    'lease-release',
  )
}
