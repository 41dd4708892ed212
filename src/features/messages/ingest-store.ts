/** Storing what came in: message, event, and the mark on its raw row, in one statement. */
import sql, { empty } from 'sql-template-tag'
import type { ChatId, ContactId, EventId, InstanceId, MediaId, MessageId, TenantId } from '../../kernel/ids.js'
import { storableJson } from '../../kernel/storable-text.js'
import type { Queryable } from '../../platform/database/database.js'
import { ownLeases } from '../../platform/leases/fence.js'
import type { Fence } from '../../platform/leases/lease.js'
import type { InboundContent } from '../../platform/whatsapp/content.js'
import { recordNewEvents } from '../events/record.js'
import { afterActivity, noteActivity } from './activity-store.js'
import { editedContent } from './edit-store.js'

export interface InboundItem {
  readonly messageId: MessageId
  readonly eventId: EventId
  readonly chatId: ChatId
  /** Null: our own number wrote it on another device. */
  readonly senderId: ContactId | null
  readonly whatsappId: string
  readonly content: InboundContent
  readonly at: Date
  readonly encHashes: readonly Buffer[]
  /** What it answers, changes or judges. */
  readonly reference?: { readonly whatsappId: string; readonly authorId: ContactId | null } | undefined
  /** Of a poll. */
  readonly secret?: Buffer | undefined
  /** The file that came with it: where it is and the keys to it, sealed. */
  readonly media?: { readonly id: MediaId; readonly sourceSealed: Buffer } | undefined
}

/**
 * Stores messages of one instance and settles their raw rows. A message that is stored already (a redelivery, the sweep) is
 * left as it is, except that content which could be decrypted at last replaces the note that it could not. Only what is new
 * makes an event. `fence` null: from the sweep, which needs no lease because every write here is idempotent.
 * Each message may occur once in `items`. The plan is kept, and enters every table by its index: plans.test.ts looks.
 * @returns the WhatsApp ids of new messages from our own number, or undefined when the lease is lost: nothing was written.
 */
export async function storeInbound(
  db: Queryable,
  owner: { readonly fence: Fence | null; readonly tenantId: TenantId; readonly instanceId: InstanceId },
  items: readonly InboundItem[],
): Promise<string[] | undefined> {
  const { fence, tenantId, instanceId } = owner
  const own = fence ? ownLeases([fence]) : sql`select 'the sweep'::text as resource`
  const stored = sql`(select id, ${tenantId}::uuid as tenant_id, ${instanceId}::uuid as instance_id, chat_id from news) s`
  const rows = await db.query<{ ownIds: string[] }>(
    sql`
    with own as materialized (${own}),
    item as materialized (
      select i.* from unnest(
        ${items.map((item) => item.messageId)}::uuid[],
        ${items.map((item) => item.eventId)}::uuid[],
        ${items.map((item) => item.chatId)}::uuid[],
        ${items.map((item) => item.senderId)}::uuid[],
        ${items.map((item) => item.whatsappId)}::text[],
        ${items.map((item) => storableJson(item.content))}::jsonb[],
        ${items.map((item) => item.at)}::timestamptz[],
        ${items.map((item) => item.reference?.whatsappId ?? null)}::text[],
        ${items.map((item) => item.reference?.authorId ?? null)}::uuid[],
        ${items.map((item) => item.secret ?? null)}::bytea[],
        ${items.map((item) => item.media?.id ?? null)}::uuid[],
        ${items.map((item) => item.media?.sourceSealed ?? null)}::bytea[])
      with ordinality as i (message_id, event_id, chat_id, sender_id, whatsapp_id, content, at, context_whatsapp_id,
        context_author_id, secret, media_id, media_source, ord)
      where exists (select from own)
    ), placed as materialized (
      select item.*, place.target_id, coalesce(ours.id, theirs.id) as context_id
      from item
      cross join lateral (select coalesce(merged_into, id) as target_id from chat where chat.id = item.chat_id) place
      left join lateral (select id from message where item.context_author_id is null and instance_id = ${instanceId}
        and whatsapp_id = item.context_whatsapp_id and direction = 'outbound' limit 1) ours on true
      left join lateral (select id from message where instance_id = ${instanceId} and chat_id = place.target_id
        and sender_id = item.context_author_id and whatsapp_id = item.context_whatsapp_id and direction = 'inbound'
        limit 1) theirs on true
    ), received as (
      insert into message as m (id, tenant_id, instance_id, chat_id, sender_id, direction, whatsapp_id, type, content,
        origin, status, created_at, context_id, context_whatsapp_id, secret, media_id)
      select message_id, ${tenantId}, ${instanceId}, target_id, sender_id, 'inbound', whatsapp_id, content ->> 'type',
        content, 'contact', 'received', at, context_id, context_whatsapp_id, secret, media_id
      from placed where sender_id is not null order by ord
      on conflict (instance_id, chat_id, sender_id, whatsapp_id) where direction = 'inbound'
      do update set type = excluded.type, content = excluded.content, context_id = excluded.context_id,
          context_whatsapp_id = excluded.context_whatsapp_id, secret = excluded.secret, media_id = excluded.media_id
        where m.type = 'undecryptable' and excluded.type <> 'undecryptable'
      returning m.id, m.whatsapp_id, m.chat_id, m.sender_id, m.type, m.context_id
    ), written as (
      insert into message (id, tenant_id, instance_id, chat_id, direction, whatsapp_id, type, content, origin, status,
        created_at, sent_at, context_id, context_whatsapp_id, secret, media_id)
      select message_id, ${tenantId}, ${instanceId}, target_id, 'outbound', whatsapp_id, content ->> 'type', content,
        'phone', 'sent', at, at, context_id, context_whatsapp_id, secret, media_id
      from placed where sender_id is null order by ord
      on conflict (instance_id, whatsapp_id) where direction = 'outbound' do nothing
      returning id, whatsapp_id, chat_id, type, context_id
    ), news as (
      select id, whatsapp_id, chat_id, sender_id, type, context_id, 'message.received' as event from received
      union all
      select id, whatsapp_id, chat_id, null, type, context_id, 'message.sent' from written
    ), ${noteActivity(stored)}, awaited as (
      insert into media (id, tenant_id, instance_id, message_id, direction, state, type, mime_type, filename, width,
        height, seconds, storage_key, source_sealed, next_attempt_at)
      select i.media_id, ${tenantId}, ${instanceId}, n.id, 'inbound', 'pending', n.type, file ->> 'mimeType',
        file ->> 'filename', (file ->> 'width')::int, (file ->> 'height')::int, (file ->> 'seconds')::int,
        ${tenantId}::text || '/' || i.media_id, i.media_source, now()
      from news n join placed i on i.whatsapp_id = n.whatsapp_id and i.target_id = n.chat_id
        and i.sender_id is not distinct from n.sender_id
      cross join lateral (select i.content -> n.type as file) said
      where i.media_id is not null
    ), changed as (
      -- Only its author edits a message; taking back may an admin of the group as well, which WhatsApp has checked.
      update message t set
        content = ${editedContent(sql`t`, sql`i.content #>> '{edit,text,body}'`)},
        edited_at = case when n.type = 'edit' then i.at else t.edited_at end,
        deleted_at = case when n.type = 'delete' then i.at else t.deleted_at end
      from news n join placed i on i.whatsapp_id = n.whatsapp_id and i.target_id = n.chat_id
        and i.sender_id is not distinct from n.sender_id
      where t.id = n.context_id and t.id = any (array(select context_id from news))
        and t.instance_id = ${instanceId} and (n.type = 'delete'
        or (n.type = 'edit' and t.sender_id is not distinct from n.sender_id))
    ), settled as (
      update inbound_raw set done_at = now(), done_as = 'message'
      where instance_id = ${instanceId} and enc_hash = any (${items.flatMap((item) => [...item.encHashes])}::bytea[])
        and exists (select from own)
    ), new_event as (
      -- An edit or a taking-back is news of the message that it changes, where we have that.
      select i.event_id as id, ${tenantId}::uuid as tenant_id,
        case when n.context_id is null then n.event when n.type = 'edit' then 'message.edited'
          when n.type = 'delete' then 'message.deleted' else n.event end as type,
        ${instanceId}::uuid as instance_id,
        case when n.type in ('edit', 'delete') then coalesce(n.context_id, n.id) else n.id end as subject_id,
        jsonb_build_object('at', i.at) as data, i.ord
      from placed i join news n on n.whatsapp_id = i.whatsapp_id and n.chat_id = i.target_id and n.sender_id is not distinct from i.sender_id
      cross join ${afterActivity}
    )
    ${recordNewEvents}
    select coalesce((select array_agg(whatsapp_id) from written), '{}') as "ownIds" from own`,
    fence ? 'ingest' : 'ingest-swept',
  )
  return rows[0]?.ownIds
}

/** Settles raw rows that are no message: protocol, app-state, history. */
export async function settleRaw(
  db: Queryable,
  owner: { readonly tenantId: TenantId; readonly instanceId: InstanceId },
  raw: { readonly encHash: Buffer; readonly as: string },
): Promise<void> {
  await db.execute(
    sql`
      update inbound_raw set done_at = now(), done_as = ${raw.as}
      where instance_id = ${owner.instanceId} and tenant_id = ${owner.tenantId} and enc_hash = ${raw.encHash}
        and done_at is null`,
    'settle-raw',
  )
}

export interface PollRow {
  readonly secret: Buffer
  readonly content: InboundContent
  readonly byUs: boolean
  /** Of whoever made it, if not we; our own. Phones in E.164. */
  readonly phones: readonly string[]
  readonly lids: readonly string[]
  readonly ownPhone: string | null
  readonly ownLid: string | null
}

/** A poll in a chat of this instance, by its WhatsApp id. */
export async function findPoll(
  db: Queryable,
  { tenantId, instanceId }: { readonly tenantId: TenantId; readonly instanceId: InstanceId },
  chatId: ChatId,
  whatsappId: string,
): Promise<PollRow | undefined> {
  const [row] = await db.query<PollRow>(
    sql`
      select m.secret, m.content, m.sender_id is null as "byUs", instance.phone as "ownPhone", instance.lid as "ownLid",
        array(select value from contact_identity where contact_id = m.sender_id and kind = 'phone') as phones,
        array(select value from contact_identity where contact_id = m.sender_id and kind = 'lid') as lids
      from message m join instance on instance.id = m.instance_id
      where m.tenant_id = ${tenantId} and m.instance_id = ${instanceId} and m.chat_id = ${chatId}
        and m.whatsapp_id = ${whatsappId} and m.secret is not null
      order by m.id limit 1`,
    'find-poll',
  )
  return row
}

export interface OpenRaw {
  readonly tenantId: TenantId
  readonly instanceId: InstanceId
  readonly encHash: Buffer
  readonly sealed: Buffer
}

export interface RawFilter {
  readonly olderThanMs: number
  /** Default: of all instances. */
  readonly instanceId?: InstanceId
  readonly skip?: number
  readonly limit: number
}

/** Raw rows of all tenants that nobody has ingested, the oldest first. */
export async function openRawRows(db: Queryable, filter: RawFilter): Promise<OpenRaw[]> {
  const { olderThanMs, instanceId, skip = 0, limit } = filter
  return db.query<OpenRaw>(sql`
    select tenant_id as "tenantId", instance_id as "instanceId", enc_hash as "encHash", sealed from inbound_raw
    where done_at is null and received_at <= now() - make_interval(secs => ${olderThanMs / 1000}::float8)
      ${instanceId ? sql`and instance_id = ${instanceId}` : empty}
    order by seq limit ${limit} offset ${skip}`)
}

/** How many raw rows of an instance nobody has ingested. */
export async function countOpenRaw(db: Queryable, tenantId: TenantId, instanceId: InstanceId): Promise<number> {
  const [row] = await db.query<{ n: number }>(sql`
    select count(*)::int as n from inbound_raw
    where tenant_id = ${tenantId} and instance_id = ${instanceId} and done_at is null`)
  return row?.n ?? 0
}

/** Forgets settled raw rows past their retention, of all tenants. @returns how many went. */
export async function purgeRaw(db: Queryable, olderThanDays: number): Promise<number> {
  return db.execute(sql`
    delete from inbound_raw where done_at is not null and received_at < now() - make_interval(days => ${olderThanDays})`)
}
