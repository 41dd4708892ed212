/**
 * Credentials and raw inbound entries, sealed, and receipts. Written only under the fence: every write joins the lease with
 * exactly this epoch and token, in the same statement.
 */
import sql from 'sql-template-tag'
import type { InstanceId, TenantId } from '../../kernel/ids.js'
import type { Queryable, Tx } from '../../platform/database/database.js'
import { ownLeases } from '../../platform/leases/fence.js'
import type { Fence, Resource } from '../../platform/leases/lease.js'
import type { Receipt } from '../../platform/whatsapp/whatsapp.js'
import type { InstanceRef } from './instance.js'

export interface SealedCredential {
  readonly resource: Resource
  readonly instanceId: InstanceId
  readonly tenantId: TenantId
  readonly kind: string
  readonly id: string
  /** Null deletes the row. */
  readonly sealed: Buffer | null
}

export interface SealedRaw {
  readonly resource: Resource
  readonly instanceId: InstanceId
  readonly tenantId: TenantId
  readonly encHash: Buffer
  readonly sealed: Buffer
}

/** One receipt of one message. It stays in `early_receipt` until it is applied. */
export interface JournaledReceipt {
  readonly resource: Resource
  readonly instanceId: InstanceId
  readonly tenantId: TenantId
  readonly whatsappId: string
  readonly status: Receipt['status']
  readonly at: Date
  readonly errorCode: string | null
  /** Of a group; '' of any other. */
  readonly member: string
  readonly alias: string | null
}

export interface JournalBatch {
  readonly fences: readonly Fence[]
  readonly credentials: readonly SealedCredential[]
  readonly raws: readonly SealedRaw[]
  readonly receipts: readonly JournaledReceipt[]
}

/**
 * One flush of the journal: one statement, autocommit, so no lock is held across a round trip. Rows of a lost lease are left
 * out and the others written all the same.
 * @returns the resources whose rows are durable; those missing are fenced.
 */
export async function flushJournal(db: Queryable, batch: JournalBatch): Promise<Set<Resource>> {
  const { fences, credentials, raws, receipts } = batch
  const changed = credentials.filter(({ sealed }) => sealed !== null)
  const removed = credentials.filter(({ sealed }) => sealed === null)
  const rows = await db.query<{ resource: Resource }>(
    sql`
      with own as materialized (${ownLeases(fences)}),
      changed as (
        insert into credential (instance_id, tenant_id, kind, id, sealed)
        select c.instance_id, c.tenant_id, c.kind, c.id, c.sealed
        from unnest(
          ${changed.map((row) => row.resource)}::text[],
          ${changed.map((row) => row.instanceId)}::uuid[],
          ${changed.map((row) => row.tenantId)}::uuid[],
          ${changed.map((row) => row.kind)}::text[],
          ${changed.map((row) => row.id)}::text[],
          ${changed.map((row) => row.sealed)}::bytea[]) as c (resource, instance_id, tenant_id, kind, id, sealed)
        join own using (resource)
        on conflict (instance_id, kind, id) do update set sealed = excluded.sealed
      ), removed as (
        delete from credential using unnest(
          ${removed.map((row) => row.resource)}::text[],
          ${removed.map((row) => row.instanceId)}::uuid[],
          ${removed.map((row) => row.kind)}::text[],
          ${removed.map((row) => row.id)}::text[]) as r (resource, instance_id, kind, id)
        join own using (resource)
        where credential.instance_id = r.instance_id and credential.kind = r.kind and credential.id = r.id
      ), received as (
        insert into inbound_raw (instance_id, tenant_id, enc_hash, sealed)
        select i.instance_id, i.tenant_id, i.enc_hash, i.sealed
        from unnest(
          ${raws.map((row) => row.resource)}::text[],
          ${raws.map((row) => row.instanceId)}::uuid[],
          ${raws.map((row) => row.tenantId)}::uuid[],
          ${raws.map((row) => row.encHash)}::bytea[],
          ${raws.map((row) => row.sealed)}::bytea[])
          with ordinality as i (resource, instance_id, tenant_id, enc_hash, sealed, ord)
        join own using (resource)
        order by i.ord
        on conflict (instance_id, enc_hash) do nothing
      ), told as (
        insert into early_receipt (instance_id, tenant_id, whatsapp_id, status, at, error_code, member, alias)
        select r.instance_id, r.tenant_id, r.whatsapp_id, r.status, r.at, r.error_code, r.member, r.alias
        from unnest(
          ${receipts.map((row) => row.resource)}::text[],
          ${receipts.map((row) => row.instanceId)}::uuid[],
          ${receipts.map((row) => row.tenantId)}::uuid[],
          ${receipts.map((row) => row.whatsappId)}::text[],
          ${receipts.map((row) => row.status)}::message_status[],
          ${receipts.map((row) => row.at)}::timestamptz[],
          ${receipts.map((row) => row.errorCode)}::text[],
          ${receipts.map((row) => row.member)}::text[],
          ${receipts.map((row) => row.alias)}::text[])
          as r (resource, instance_id, tenant_id, whatsapp_id, status, at, error_code, member, alias)
        join own using (resource)
        on conflict (instance_id, whatsapp_id, status, member) do nothing
      )
      select resource from own`,
    'journal_flush',
  )
  return new Set(rows.map(({ resource }) => resource))
}

export interface StoredCredential {
  readonly kind: string
  readonly id: string
  readonly sealed: Buffer
}

/**
 * All credentials of an instance, read in the same snapshot as the lease's epoch and token: what a predecessor could still
 * write was either committed before our take, and is seen, or is refused. Undefined when the lease is not ours any more.
 */
export async function readCredentials(
  db: Queryable,
  { tenantId, instanceId }: InstanceRef,
  fence: Fence,
): Promise<StoredCredential[] | undefined> {
  const rows = await db.query<{ kind: string | null; id: string | null; sealed: Buffer | null }>(sql`
    select c.kind, c.id, c.sealed
    from lease l
    left join credential c on c.instance_id = ${instanceId} and c.tenant_id = ${tenantId}
    where l.resource = ${fence.resource} and l.epoch = ${fence.epoch} and l.token = ${fence.token}`)
  if (rows.length === 0) return undefined
  return rows.flatMap(({ kind, id, sealed }) =>
    kind === null || id === null || sealed === null ? [] : [{ kind, id, sealed }],
  )
}

/** The raw entry of an encrypted payload that was received before, sealed. */
export async function findSealedRaw(
  db: Queryable,
  { tenantId, instanceId }: InstanceRef,
  encHash: Buffer,
): Promise<Buffer | undefined> {
  const [row] = await db.query<{ sealed: Buffer }>(
    sql`
      select sealed from inbound_raw
      where instance_id = ${instanceId} and tenant_id = ${tenantId} and enc_hash = ${encHash}`,
    'find_sealed_raw',
  )
  return row?.sealed
}

/** Takes the credentials out of use and keeps them for a person to look at. In the transaction that says why. */
export async function buryCredentials(tx: Tx, { tenantId, instanceId }: InstanceRef, reason: string): Promise<void> {
  await tx.execute(sql`
    with ended as (
      delete from credential where instance_id = ${instanceId} and tenant_id = ${tenantId}
      returning instance_id, tenant_id, kind, id, sealed
    )
    insert into credential_tombstone (instance_id, tenant_id, kind, id, sealed, reason)
    select instance_id, tenant_id, kind, id, sealed, ${reason} from ended`)
}

/** Deletes what could speak for the number, the key that opens it, and receipts that nothing will ask for. */
export async function purgeSecrets(tx: Tx, { tenantId, instanceId }: InstanceRef): Promise<void> {
  await tx.execute(sql`delete from credential where instance_id = ${instanceId} and tenant_id = ${tenantId}`)
  await tx.execute(sql`delete from credential_tombstone where instance_id = ${instanceId} and tenant_id = ${tenantId}`)
  await tx.execute(sql`delete from inbound_raw where instance_id = ${instanceId} and tenant_id = ${tenantId}`)
  await tx.execute(sql`delete from early_receipt where instance_id = ${instanceId} and tenant_id = ${tenantId}`)
  await tx.execute(sql`delete from data_key where id = ${instanceId} and tenant_id = ${tenantId}`)
}

const TOMBSTONE_DAYS = 30

/** Housekeeping: tombstones past their 30 days, of all tenants. @returns how many rows went. */
export async function deleteOldTombstones(db: Queryable): Promise<number> {
  return db.execute(sql`
    delete from credential_tombstone where buried_at < now() - make_interval(days => ${TOMBSTONE_DAYS}::int)`)
}
