/** The list of chats, and finding one by whatever names whom it is with. */
import sql, { empty, join, type Sql } from 'sql-template-tag'
import type { ChatId, ContactId, InstanceId, MessageId, TenantId } from '../../kernel/ids.js'
import type { Queryable } from '../../platform/database/database.js'
import { contactIsLike, containing } from '../contacts/contact-store.js'
import { survivorOf } from '../contacts/survivor-store.js'
import type { MessageRow } from './message.js'
import { messageRow } from './message-store.js'

export interface ChatFilter {
  readonly instanceId?: InstanceId | undefined
  /** Part of a name or subject, or digits of a number or LID. */
  readonly q?: string | undefined
  /** Chats whose newest message is older than this one. */
  readonly before?: MessageId | undefined
  readonly limit: number
}

/** The newest message of each chat that has any, the latest first. */
export async function listChats(db: Queryable, tenantId: TenantId, filter: ChatFilter): Promise<MessageRow[]> {
  const { instanceId, q, before, limit } = filter
  const where = [
    sql`a.tenant_id = ${tenantId}`,
    instanceId ? sql`a.instance_id = ${instanceId}` : empty,
    before ? sql`a.last_message_id < ${before}` : empty,
    q ? isWithLike(q) : empty,
    isNewestOfKin,
  ].filter((condition) => condition !== empty)
  const found = q
    ? sql`with found as materialized (
        select c.id from contact c where c.tenant_id = ${tenantId} and c.merged_into is null and ${contactIsLike(q)})`
    : empty
  return db.query<MessageRow>(sql`
    ${messageRow}
    where m.tenant_id = ${tenantId} and m.id = any (array(
      ${found}
      select a.last_message_id from chat_activity a
      cross join lateral (select id, merged_into from chat where chat.id = a.chat_id limit 1) own
      cross join lateral (select id, contact_id, subject from chat where chat.id = ${survivorOf(sql`own`)} limit 1) shown
      where ${join(where, ' and ')} order by a.last_message_id desc limit ${limit}))
    order by m.id desc`)
}

const isWithLike = (q: string): Sql =>
  sql`(shown.contact_id in (select id from found) or shown.subject ilike ${containing(q)})`

/**
 * What was accepted for a chat while that was merged lies in its old record: of the records of one chat the newest counts.
 * Sub-selects with limits, here and above: looked up chat by chat in the order of the index until the page is full, whatever
 * the planner believes of the tables.
 */
const isNewestOfKin: Sql = sql`
  not coalesce((select true from chat kin join chat_activity b on b.chat_id = kin.id
    where kin.merged_into = shown.id and b.last_message_id > a.last_message_id limit 1), false)
  and not coalesce((select true from chat_activity b
    where b.chat_id = own.merged_into and b.last_message_id > a.last_message_id limit 1), false)`

/** Whose chat it is; of one that was merged, of the chat that it was merged into. */
export async function hasChat(
  db: Queryable,
  tenantId: TenantId,
  chatId: ChatId,
  instanceId: InstanceId | undefined,
): Promise<boolean> {
  const rows = await db.query(sql`
    select from chat where tenant_id = ${tenantId} and id = ${chatId}
      ${instanceId ? sql`and instance_id = ${instanceId}` : empty}`)
  return rows.length > 0
}

/** The chat of an instance with a person, or with a group. */
export async function findChatWith(
  db: Queryable,
  { tenantId, instanceId }: { readonly tenantId: TenantId; readonly instanceId: InstanceId },
  other: { readonly contactId: ContactId } | { readonly groupJid: string },
): Promise<ChatId | undefined> {
  const isOther =
    'groupJid' in other
      ? sql`group_jid = ${other.groupJid}`
      : sql`contact_id = ${other.contactId} and merged_into is null`
  const [row] = await db.query<{ id: ChatId }>(sql`
    select id from chat where tenant_id = ${tenantId} and instance_id = ${instanceId} and ${isOther}`)
  return row?.id
}
