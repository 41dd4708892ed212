/** The statement that accepts a batch of messages: keys of idempotency, places in the lanes, rows and events, in one commit. */
import sql from 'sql-template-tag'
import type { ChatId, EventId, InstanceId, MediaId, MessageId, TenantId } from '../../kernel/ids.js'
import type { Queryable } from '../../platform/database/database.js'
import type { OutboundContent } from '../../platform/whatsapp/content.js'
import { recordNewEvents } from '../events/record.js'
import { afterActivity, noteActivity } from './activity-store.js'
import type { MediaType } from './media.js'
import type { Origin } from './message.js'

export interface AcceptItem {
  readonly messageId: MessageId
  readonly tenantId: TenantId
  readonly instanceId: InstanceId
  readonly chatId: ChatId
  readonly whatsappId: string
  readonly content: OutboundContent
  readonly origin: Origin
  readonly metadata: Readonly<Record<string, unknown>> | null
  readonly eventId: EventId
  readonly idempotency: AcceptIdempotency | null
  /** The message that it answers, changes or judges. */
  readonly context?: { readonly messageId: MessageId; readonly whatsappId: string } | undefined
  /** Of a poll: 32 bytes. */
  readonly secret?: Buffer | undefined
  /** The file that it is sent with. */
  readonly media?: AcceptMedia | undefined
}

/** One that is stored, or one that is to be fetched from the content's link: then the message is held until it is here. */
export type AcceptMedia =
  | { readonly id: MediaId }
  | {
      readonly id: MediaId
      readonly fetch: { readonly type: MediaType; readonly filename: string | null; readonly storageKey: string }
    }

export interface AcceptIdempotency {
  readonly route: string
  readonly key: string
  readonly fingerprint: Buffer
  /** The answer that a repetition of the request gets. */
  readonly response: unknown
}

export type AcceptOutcome =
  | 'accepted'
  | 'unknown_instance'
  | 'instance_disabled'
  | 'unknown_chat'
  | 'key_taken'
  /** The statement failed for this row alone. */
  | 'rejected'

/**
 * Accepts what can be accepted and says of each item what became of it, in order. Locks, in this order: lanes by chat id,
 * the activity of chats, then the tenants' event counters. Every `on conflict` names its target: a collision of WhatsApp ids
 * fails the batch loudly instead of dropping a message.
 */
export async function acceptBatch(db: Queryable, items: readonly AcceptItem[]): Promise<AcceptOutcome[]> {
  const rows = await db.query<{ outcome: AcceptOutcome }>(acceptStatement(items), 'accept-messages')
  return rows.map(({ outcome }) => outcome)
}

const acceptStatement = (items: readonly AcceptItem[]) => sql`
  with item as materialized (
    select * from unnest(
      ${items.map((item) => item.messageId)}::uuid[],
      ${items.map((item) => item.tenantId)}::uuid[],
      ${items.map((item) => item.instanceId)}::uuid[],
      ${items.map((item) => item.chatId)}::uuid[],
      ${items.map((item) => item.whatsappId)}::text[],
      ${items.map((item) => JSON.stringify(item.content))}::jsonb[],
      ${items.map((item) => item.origin)}::text[],
      ${items.map((item) => (item.metadata ? JSON.stringify(item.metadata) : null))}::jsonb[],
      ${items.map((item) => item.eventId)}::uuid[],
      ${items.map((item) => item.idempotency?.route ?? null)}::text[],
      ${items.map((item) => item.idempotency?.key ?? null)}::text[],
      ${items.map((item) => item.idempotency?.fingerprint ?? null)}::bytea[],
      ${items.map((item) => (item.idempotency ? JSON.stringify(item.idempotency.response) : null))}::jsonb[],
      ${items.map((item) => item.context?.messageId ?? null)}::uuid[],
      ${items.map((item) => item.context?.whatsappId ?? null)}::text[],
      ${items.map((item) => item.secret ?? null)}::bytea[],
      ${items.map((item) => item.media?.id ?? null)}::uuid[],
      ${items.map(({ media }) => (media && 'fetch' in media ? media.fetch.type : null))}::text[],
      ${items.map(({ media }) => (media && 'fetch' in media ? media.fetch.filename : null))}::text[],
      ${items.map(({ media }) => (media && 'fetch' in media ? media.fetch.storageKey : null))}::text[])
    with ordinality as i (message_id, tenant_id, instance_id, chat_id, whatsapp_id, content, origin, metadata,
      event_id, route, key, fingerprint, response, context_id, context_whatsapp_id, secret, media_id, fetch_type,
      fetch_filename, fetch_key, ord)
  ), checked as materialized (
    select item.*, coalesce(chat.merged_into, chat.id) as lane_id,
      case
        when instance.id is null then 'unknown_instance'
        when not instance.enabled then 'instance_disabled'
        when chat.id is null then 'unknown_chat'
        else 'accepted'
      end as verdict
    from item
    left join instance on instance.id = item.instance_id and instance.tenant_id = item.tenant_id
      and instance.deleted_at is null and instance.id = any (array(select instance_id from item))
    left join chat on chat.id = item.chat_id and chat.tenant_id = item.tenant_id
      and chat.instance_id = item.instance_id
      -- Said twice, so that the planner reads large tables by index whatever it takes their size for. So below.
      and chat.id = any (array(select chat_id from item))
  ), claimed_key as (
    insert into idempotency (tenant_id, route, key, fingerprint, status, response, expires_at)
    select tenant_id, route, key, fingerprint, 202, response, now() + interval '24 hours'
    from checked where verdict = 'accepted' and key is not null
    order by tenant_id, route, key
    on conflict (tenant_id, route, key) do nothing
    returning tenant_id, route, key
  ), admitted as materialized (
    select * from checked c
    where verdict = 'accepted' and (key is null or exists (
      select from claimed_key k where k.tenant_id = c.tenant_id and k.route = c.route and k.key = c.key))
  ), locked as materialized (
    select chat_id from chat_lane where chat_id = any (array(select lane_id from admitted)) order by chat_id for update
  ), lane as (
    update chat_lane l set
      next_seq = l.next_seq + added.n,
      head_due_at = case when l.head_seq = l.next_seq then now() else l.head_due_at end
    from (select lane_id, count(*) as n from admitted where fetch_type is null group by lane_id) added
    join locked on locked.chat_id = added.lane_id
    where l.chat_id = added.lane_id and l.chat_id = any (array(select lane_id from admitted))
    returning l.chat_id, l.next_seq - added.n as first_seq
  ), inserted as (
    insert into message (id, tenant_id, instance_id, chat_id, direction, whatsapp_id, type, content, origin, metadata,
      status, context_id, context_whatsapp_id, secret, media_id, hold_reason, chat_seq)
    select message_id, tenant_id, instance_id, lane_id, 'outbound', whatsapp_id, content ->> 'type', content, origin,
      metadata, 'queued'::message_status, context_id, context_whatsapp_id, secret, media_id, null,
      lane.first_seq + row_number() over (partition by lane_id order by ord) - 1
    from admitted join lane on lane.chat_id = admitted.lane_id where fetch_type is null
    union all
    -- What waits for its file has no place in the lane, and blocks nobody.
    select message_id, tenant_id, instance_id, lane_id, 'outbound', whatsapp_id, content ->> 'type', content, origin,
      metadata, 'queued', context_id, context_whatsapp_id, secret, media_id, 'media', null
    from admitted where fetch_type is not null
    returning id, tenant_id, instance_id, chat_id
  ), ${noteActivity(sql`inserted`)}, awaited as (
    insert into media (id, tenant_id, instance_id, message_id, direction, state, type, filename, storage_key)
    select media_id, tenant_id, instance_id, message_id, 'outbound', 'pending', fetch_type, fetch_filename, fetch_key
    from admitted where fetch_type is not null
    returning id, tenant_id
  ), fetching as (
    insert into job (id, tenant_id, kind, subject_id) select uuid_v7(), tenant_id, 'fetch-media', id from awaited
  ), new_event as (
    select a.event_id as id, a.tenant_id, 'message.queued' as type, a.instance_id, a.message_id as subject_id,
      '{}'::jsonb as data, a.ord
    from admitted a join inserted on inserted.id = a.message_id cross join ${afterActivity}
  )
  ${recordNewEvents}
  select case when c.verdict = 'accepted' and a.message_id is null then 'key_taken' else c.verdict end as outcome
  from checked c left join admitted a using (message_id)
  order by c.ord`
