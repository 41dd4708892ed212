/**
 * Receipts of the members of a group, for the messages of which we know to whom they went. Such a message is delivered, read
 * or played when all of these have: as WhatsApp shows it.
 */
import sql, { type Sql } from 'sql-template-tag'
import type { InstanceId, MessageId, TenantId } from '../../kernel/ids.js'
import { firstIdAt } from '../../kernel/ids.js'
import type { Queryable, Tx } from '../../platform/database/database.js'
import { ownLeases } from '../../platform/leases/fence.js'
import type { Fence } from '../../platform/leases/lease.js'
import type { MemberKey } from '../../platform/whatsapp/jid.js'

/** Members of a group at most, as of WhatsApp; of larger ones (announcements of communities) nothing is kept. */
export const MAX_MEMBERS = 1_024

export interface MemberReceiptItem extends MemberKey {
  readonly tenantId: TenantId
  readonly instanceId: InstanceId
  readonly whatsappId: string
  readonly status: 'delivered' | 'read' | 'played'
  readonly at: Date
}

export interface Sent {
  readonly tenantId: TenantId
  readonly instanceId: InstanceId
  readonly whatsappId: string
}

/** Notes to whom a message of ours goes; said again, the last word counts. Under the fence: a stale holder writes nothing. */
export async function expectReceipts(
  db: Queryable,
  fence: Fence,
  sent: Sent,
  members: readonly MemberKey[],
): Promise<void> {
  await db.execute(sql`
    with own as materialized (${ownLeases([fence])}),
    target as materialized (
      select id, tenant_id from message
      where tenant_id = ${sent.tenantId} and instance_id = ${sent.instanceId} and whatsapp_id = ${sent.whatsappId}
        and direction = 'outbound' and exists (select from own)
    ), item as materialized (
      select distinct on (coalesce(known.member, i.member)) target.id, target.tenant_id,
        coalesce(known.member, i.member) as member, case when known.member = i.alias then i.member else i.alias end as alias
      from target cross join unnest(
        ${members.map(({ member }) => member)}::text[], ${members.map(({ alias }) => alias)}::text[]) as i (member, alias)
      left join lateral ${memberKnownAs(sql`target.id`, sql`i`)} known on true
      order by coalesce(known.member, i.member)
    ), gone as (
      update member_receipt r set expected = false from target
      where r.message_id = target.id and r.expected and r.member not in (select member from item)
    )
    insert into member_receipt as r (message_id, tenant_id, member, alias, expected)
    select id, tenant_id, member, alias, true from item
    on conflict (message_id, member) do update set expected = true, alias = coalesce(r.alias, excluded.alias)`)
}

/**
 * Keeps receipts of members; those of messages that are not stored yet wait in `early_receipt`. Locks the messages.
 * @returns the messages that they speak of, or undefined when the lease is lost: then nothing was written.
 */
export async function keepMemberReceipts(
  tx: Tx,
  fence: Fence | null,
  items: readonly MemberReceiptItem[],
): Promise<MessageId[] | undefined> {
  const own = fence ? ownLeases([fence]) : sql`select 'the sweep'::text as resource`
  const [row] = await tx.query<{ messageIds: MessageId[] }>(sql`
    with own as materialized (${own}),
    item as materialized (
      select i.* from unnest(
        ${items.map((item) => item.tenantId)}::uuid[],
        ${items.map((item) => item.instanceId)}::uuid[],
        ${items.map((item) => item.whatsappId)}::text[],
        ${items.map((item) => item.member)}::text[],
        ${items.map((item) => item.alias)}::text[],
        ${items.map((item) => item.status)}::message_status[],
        ${items.map((item) => item.at)}::timestamptz[]) as i (tenant_id, instance_id, whatsapp_id, member, alias, status, at)
      where exists (select from own)
    ), target as materialized (
      select m.id, m.instance_id, m.whatsapp_id, m.created_at, m.origin from message m
      where m.direction = 'outbound' and m.instance_id = any (array(select distinct instance_id from item))
        and m.whatsapp_id = any (array(select whatsapp_id from item))
      order by m.id for update of m
    ), told as materialized (
      select target.id as message_id, item.tenant_id, coalesce(known.member, item.member) as member,
        max(case when known.member = item.alias then item.member else item.alias end) as alias,
        bool_or(known.member is not null) as is_known, bool_or(target.origin = 'phone') as by_phone,
        min(greatest(item.at, target.created_at)) as delivered_at,
        min(greatest(item.at, target.created_at)) filter (where item.status in ('read', 'played')) as read_at,
        min(greatest(item.at, target.created_at)) filter (where item.status = 'played') as played_at
      from item join target using (instance_id, whatsapp_id)
      left join lateral ${memberKnownAs(sql`target.id`, sql`item`)} known on true
      group by target.id, item.tenant_id, coalesce(known.member, item.member)
    ), kept as (
      insert into member_receipt as r (message_id, tenant_id, member, alias, delivered_at, read_at, played_at)
      select message_id, tenant_id, member, alias, delivered_at, read_at, played_at from told
      -- To whom a message went that was written on the phone is learned a moment later.
      where is_known or (by_phone and ${MAX_MEMBERS} > (
        select count(*) from member_receipt full_one where full_one.message_id = told.message_id))
      order by message_id, member
      on conflict (message_id, member) do update set alias = coalesce(r.alias, excluded.alias),
        delivered_at = coalesce(r.delivered_at, excluded.delivered_at), read_at = coalesce(r.read_at, excluded.read_at),
        played_at = coalesce(r.played_at, excluded.played_at)
    ), early as (
      insert into early_receipt (instance_id, tenant_id, whatsapp_id, status, at, member, alias)
      select distinct on (instance_id, whatsapp_id, status, member) instance_id, tenant_id, whatsapp_id, status, at, member, alias
      from item
      where not exists (select from target t
        where t.instance_id = item.instance_id and t.whatsapp_id = item.whatsapp_id)
      order by instance_id, whatsapp_id, status, member
      on conflict (instance_id, whatsapp_id, status, member) do nothing
    ), applied as (
      delete from early_receipt e
      where e.instance_id = any (array(select distinct instance_id from target))
        and e.whatsapp_id = any (array(select whatsapp_id from target))
        and exists (select from item where item.instance_id = e.instance_id and item.whatsapp_id = e.whatsapp_id
          and item.status = e.status and item.member = e.member)
    )
    select array(select distinct message_id from told) as "messageIds" from own`)
  return row?.messageIds
}

/** As which member a row is there already: by the same address, else by whichever of the two. */
const memberKnownAs = (messageId: Sql, item: Sql): Sql => sql`(
  select coalesce(
    (select r.member from member_receipt r where r.message_id = ${messageId} and r.member = ${item}.member),
    (select r.member from member_receipt r
      where r.message_id = ${messageId} and (r.member = ${item}.alias or r.alias = ${item}.member)
      order by r.expected desc, r.member limit 1)) as member)`

/** Locks a message of ours. Resolves to its id, if it is there. */
export async function lockSent(tx: Tx, { tenantId, instanceId, whatsappId }: Sent): Promise<MessageId[]> {
  const rows = await tx.query<{ id: MessageId }>(sql`
    select id from message
    where tenant_id = ${tenantId} and instance_id = ${instanceId} and whatsapp_id = ${whatsappId} and direction = 'outbound'
    for update`)
  return rows.map(({ id }) => id)
}

export interface Reached extends Sent {
  readonly status: 'delivered' | 'read' | 'played'
  /** When the last member had. */
  readonly at: Date
}

/** What all to whom a message went have done with it, of those that have not been told of yet. */
export async function findReached(tx: Tx, messageIds: readonly MessageId[]): Promise<Reached[]> {
  return tx.query<Reached>(sql`
    select m.tenant_id as "tenantId", m.instance_id as "instanceId", m.whatsapp_id as "whatsappId", step.status, step.at
    from message m
    cross join lateral (
      select count(*) as n, count(delivered_at) as delivered, count(read_at) as read, count(played_at) as played,
        max(delivered_at) as delivered_at, max(read_at) as read_at, max(played_at) as played_at
      from member_receipt where message_id = m.id and expected) all_of
    cross join lateral (values
      ('delivered'::message_status, all_of.delivered, all_of.delivered_at),
      ('read', all_of.read, all_of.read_at),
      ('played', all_of.played, all_of.played_at)) as step (status, n, at)
    where m.id = any (${messageIds}::uuid[]) and all_of.n > 0 and step.n = all_of.n and m.status < step.status
    order by m.id, step.status`)
}

export interface MemberReceipt {
  readonly phone: string | null
  readonly lid: string | null
  readonly name: string | null
  readonly deliveredAt: Date | null
  readonly readAt: Date | null
  readonly playedAt: Date | null
}

/** To whom a message to a group went, and what each did with it. Empty for any other message. */
export async function listMemberReceipts(
  db: Queryable,
  tenantId: TenantId,
  messageId: MessageId,
): Promise<MemberReceipt[]> {
  return db.query<MemberReceipt>(sql`
    select coalesce(shown.phone, r.phone) as phone, r.lid, contact.name, r.delivered_at as "deliveredAt",
      r.read_at as "readAt", r.played_at as "playedAt"
    from (
      select *, case when member like '+%' then member else alias end as phone, case when member not like '+%' then member end as lid
      from member_receipt where tenant_id = ${tenantId} and message_id = ${messageId} and expected
    ) r
    left join lateral (select contact_id from contact_identity i where i.tenant_id = ${tenantId}
      and ((i.kind = 'lid' and i.value = r.lid) or (i.kind = 'phone' and i.value = r.phone))
      and i.contact_id is not null order by i.kind limit 1) known on true
    left join contact on contact.id = known.contact_id
    left join lateral (select value as phone from contact_identity i
      where i.contact_id = known.contact_id and i.kind = 'phone' order by since, value limit 1) shown on true
    order by r.member`)
}

/** Forgets the receipts of the members for messages of that age, of all tenants. @returns how many went. */
export async function purgeMemberReceipts(db: Queryable, before: Date): Promise<number> {
  return db.execute(sql`delete from member_receipt where message_id < ${firstIdAt('msg', before.getTime())}`)
}
