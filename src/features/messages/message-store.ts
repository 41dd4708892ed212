/** Reading messages, for the API and for what is derived from them. */
import sql, { empty, join, type Sql } from 'sql-template-tag'
import { type ChatId, firstIdAt, type InstanceId, type MessageId, type TenantId } from '../../kernel/ids.js'
import type { Queryable } from '../../platform/database/database.js'
import { newestOf, phoneOf } from '../contacts/identity-store.js'
import { survivorOf } from '../contacts/survivor-store.js'
import type { MessageRow, MessageStatus } from './message.js'
import { matches, type Search } from './search-store.js'

const DAY_MS = 86_400_000

/** Columns of a MessageRow, from `message m`. */
export const messageRow: Sql = sql`
  select m.id, m.tenant_id as "tenantId", m.instance_id as "instanceId", chat.id as "chatId",
    chat.contact_id as "contactId", m.sender_id as "senderId",
    m.direction, m.whatsapp_id as "whatsappId", m.content, m.origin, m.metadata, m.status,
    m.hold_reason as "holdReason", m.attempts, m.error_code as "errorCode", m.error_detail as "errorDetail",
    m.created_at as "createdAt", m.sent_at as "sentAt", m.delivered_at as "deliveredAt", m.read_at as "readAt",
    m.played_at as "playedAt", m.failed_at as "failedAt", m.edited_at as "editedAt", m.deleted_at as "deletedAt",
    m.context_id as "contextId", m.context_whatsapp_id as "contextWhatsappId",
    case when media.id is not null then jsonb_build_object('id', media.id, 'state', media.state, 'type', media.type,
      'mimeType', media.mime_type, 'size', media.size, 'sha256', encode(media.sha256, 'hex'),
      'filename', media.filename, 'width', media.width, 'height', media.height, 'seconds', media.seconds,
      'errorCode', media.error_code) end as media,
    phone.value as phone, phone.wa_id as "waId", lid.value as lid, other.username, other.bsuid,
    coalesce(contact.name, chat.subject) as name, chat.group_jid as "groupJid",
    sender.name as "senderName", sender_phone.value as "senderPhone", sender_lid.value as "senderLid"
  from message m
  -- One by one: as a join it would be planned, while there are few files, as reading all of the tenant's.
  left join lateral (select * from media where id = m.media_id and tenant_id = m.tenant_id limit 1) media on true
  join chat own_chat on own_chat.id = m.chat_id
  join chat on chat.id = ${survivorOf(sql`own_chat`)}
  left join contact on contact.id = chat.contact_id
  ${phoneOf(sql`chat.contact_id`)}
  ${newestOf('lid', sql`chat.contact_id`)}
  left join lateral (select max(value) filter (where kind = 'username') as username,
      max(value) filter (where kind = 'bsuid') as bsuid
    from contact_identity where contact_id = chat.contact_id and kind in ('username', 'bsuid')) other on true
  left join contact own_sender on own_sender.id = m.sender_id and chat.group_jid is not null
  left join contact sender on sender.id = ${survivorOf(sql`own_sender`)}
  ${phoneOf(sql`sender.id`, 'sender_phone')}
  ${newestOf('lid', sql`sender.id`, 'sender_lid')}`

export async function findMessage(
  db: Queryable,
  tenantId: TenantId,
  messageId: MessageId,
): Promise<MessageRow | undefined> {
  const [row] = await db.query<MessageRow>(sql`${messageRow} where m.tenant_id = ${tenantId} and m.id = ${messageId}`)
  return row
}

export async function findMessages(
  db: Queryable,
  tenantId: TenantId,
  messageIds: readonly MessageId[],
): Promise<MessageRow[]> {
  return db.query<MessageRow>(
    // A sub-select hides from the planner how few they are: what it plans for these it keeps, instead of planning each time.
    sql`${messageRow} where m.tenant_id = ${tenantId} and m.id = any (array(select unnest(${messageIds}::uuid[])))`,
    'find-messages',
  )
}

export interface MessageFilter {
  readonly instanceId?: InstanceId | undefined
  readonly chatId?: ChatId | undefined
  readonly status?: MessageStatus | undefined
  readonly direction?: 'inbound' | 'outbound' | undefined
  readonly type?: string | undefined
  /** By the time at which they were accepted, or written by whom they came from. */
  readonly since?: Date | undefined
  readonly until?: Date | undefined
  /** With words to look for, as the system role only: see search-store.ts. */
  readonly search?: Search | undefined
  /** Messages older than this one, or newer. */
  readonly before?: MessageId | undefined
  readonly after?: MessageId | undefined
  /** Default: the newest first. */
  readonly order?: 'newest_first' | 'oldest_first'
  readonly limit: number
}

export async function listMessages(db: Queryable, tenantId: TenantId, filter: MessageFilter): Promise<MessageRow[]> {
  const chatIds = filter.chatId ? await recordsOfChat(db, tenantId, filter.chatId) : []
  const where = [
    sql`m.tenant_id = ${tenantId}`,
    filter.instanceId ? sql`m.instance_id = ${filter.instanceId}` : empty,
    filter.chatId ? inChats(chatIds) : empty,
    filter.status ? sql`m.status = ${filter.status}` : empty,
    filter.direction ? sql`m.direction = ${filter.direction}` : empty,
    filter.type ? sql`m.type = ${filter.type}` : empty,
    // An id is made when its message comes to us: at the earliest, clocks considered, when it was written.
    filter.since
      ? sql`m.created_at >= ${filter.since} and m.id >= ${firstIdAt('msg', filter.since.getTime() - DAY_MS)}`
      : empty,
    filter.until ? sql`m.created_at < ${filter.until}` : empty,
    filter.before ? sql`m.id < ${filter.before}` : empty,
    filter.after ? sql`m.id > ${filter.after}` : empty,
  ].filter((condition) => condition !== empty)
  // Materialized: its planner takes rare words for frequent ones, and would look through all messages for a page of them.
  const hits = filter.search
    ? sql`with hit as materialized (select s.message_id from message_search s where ${matches(tenantId, filter.search)})`
    : empty
  const isHit = filter.search ? sql`join hit on hit.message_id = m.id` : empty
  const inOrder = filter.order === 'oldest_first' ? sql`order by m.id` : sql`order by m.id desc`
  // The page first: what belongs to a message is looked up for those on it only.
  return db.query<MessageRow>(sql`
    ${messageRow}
    where m.tenant_id = ${tenantId} and m.id = any (array(
      ${hits} select m.id from message m ${isHit} where ${join(where, ' and ')} ${inOrder} limit ${filter.limit}))
    ${inOrder}`)
}

/**
 * The chat and those that were merged into it: what was accepted or received at that very moment lies there still. Asked by
 * the id of one of those, the same.
 */
async function recordsOfChat(db: Queryable, tenantId: TenantId, chatId: ChatId): Promise<ChatId[]> {
  const rows = await db.query<{ id: ChatId }>(sql`
    with target as (
      select coalesce(merged_into, id) as id from chat where tenant_id = ${tenantId} and id = ${chatId}
    )
    select id from target
    union all
    select chat.id from target join chat on chat.merged_into = target.id where chat.tenant_id = ${tenantId}`)
  return rows.map(({ id }) => id)
}

/** Said of one chat, as it nearly always is, an index gives the newest first without reading the rest. */
const inChats = ([first, ...others]: readonly ChatId[]): Sql =>
  others.length === 0 ? sql`m.chat_id = ${first}` : sql`m.chat_id = any (${[first, ...others]}::uuid[])`

export interface StoredAnswer {
  readonly fingerprint: Buffer
  readonly response: unknown
  readonly expired: boolean
}

/** The answer kept under an idempotency key. */
export async function findAnswer(
  db: Queryable,
  tenantId: TenantId,
  { route, key }: { readonly route: string; readonly key: string },
): Promise<StoredAnswer | undefined> {
  const [row] = await db.query<StoredAnswer>(sql`
    select fingerprint, response, expires_at <= now() as expired from idempotency
    where tenant_id = ${tenantId} and route = ${route} and key = ${key}`)
  return row
}

/** Forgets a key whose time is over, so that it may be used again. */
export async function forgetExpiredKey(
  db: Queryable,
  tenantId: TenantId,
  { route, key }: { readonly route: string; readonly key: string },
): Promise<void> {
  await db.execute(sql`
    delete from idempotency
    where tenant_id = ${tenantId} and route = ${route} and key = ${key} and expires_at <= now()`)
}

export async function findStatus(
  db: Queryable,
  tenantId: TenantId,
  messageId: MessageId,
): Promise<MessageStatus | undefined> {
  const [row] = await db.query<{ status: MessageStatus }>(
    sql`select status from message where tenant_id = ${tenantId} and id = ${messageId}`,
    'find-status',
  )
  return row?.status
}
