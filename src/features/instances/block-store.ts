/** Whom the account of an instance has blocked, in PostgreSQL. */
import sql from 'sql-template-tag'
import type { ContactId, TenantId } from '../../kernel/ids.js'
import type { Queryable, Tx } from '../../platform/database/database.js'
import type { Identity } from '../contacts/recipient.js'
import type { InstanceRef } from './instance.js'

export interface BlockMove {
  readonly contactId: ContactId
  readonly blocked: boolean
}

/** The contact that an id stands for: after a merge, the one it was merged into. */
export async function findLivingContact(
  db: Queryable,
  tenantId: TenantId,
  contactId: ContactId,
): Promise<ContactId | undefined> {
  const [row] = await db.query<{ id: ContactId }>(sql`
    select coalesce(merged_into, id) as id from contact where tenant_id = ${tenantId} and id = ${contactId}`)
  return row?.id
}

/**
 * Notes who is blocked; with `complete`, that nobody else is. People whom Mirante has never met are left out. Returns whose
 * state has changed.
 */
export async function saveBlocks(
  tx: Tx,
  { tenantId, instanceId }: InstanceRef,
  changes: readonly { readonly identity: Identity; readonly blocked: boolean }[],
  complete: boolean,
): Promise<BlockMove[]> {
  return tx.query<BlockMove>(sql`
    with said as materialized (
      select distinct on (coalesce(c.merged_into, c.id)) coalesce(c.merged_into, c.id) as contact_id, s.blocked
      from unnest(
        ${changes.map(({ identity }) => identity.kind)}::text[], ${changes.map(({ identity }) => identity.value)}::text[],
        ${changes.map(({ blocked }) => blocked)}::boolean[]) with ordinality as s (kind, value, blocked, ord)
      join contact_identity i on i.tenant_id = ${tenantId} and i.kind = s.kind and i.value = s.value
      join contact c on c.id = i.contact_id
      order by 1, s.ord desc
    ), added as (
      insert into contact_block (tenant_id, instance_id, contact_id)
      select ${tenantId}, ${instanceId}, contact_id from said where blocked
      on conflict (instance_id, contact_id) do nothing
      returning contact_id
    ), removed as (
      delete from contact_block b using contact c
      where b.tenant_id = ${tenantId} and b.instance_id = ${instanceId} and c.id = b.contact_id
        and case when ${complete}
          then not exists (select from said where blocked and contact_id = b.contact_id)
          else exists (select from said where not blocked and contact_id = coalesce(c.merged_into, c.id)) end
      returning b.contact_id
    )
    select contact_id as "contactId", true as blocked from added
    union all
    select contact_id, false from removed`)
}

export interface BlockedRow {
  readonly contactId: ContactId
  readonly since: Date
}

/** The last blocked first. */
export async function listBlocked(
  db: Queryable,
  { tenantId, instanceId }: InstanceRef,
  limit: number,
): Promise<BlockedRow[]> {
  return db.query<BlockedRow>(sql`
    select coalesce(c.merged_into, c.id) as "contactId", min(b.blocked_at) as since
    from contact_block b join contact c on c.id = b.contact_id
    where b.tenant_id = ${tenantId} and b.instance_id = ${instanceId}
    group by 1 order by since desc limit ${limit}`)
}
