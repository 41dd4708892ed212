/** Reading chats: whom they are with, and what in them is unread. */
import sql from 'sql-template-tag'
import type { ChatId, InstanceId, MessageId, TenantId } from '../../kernel/ids.js'
import type { Queryable } from '../../platform/database/database.js'
import { addressFrom, type WhatsAppAddress } from '../../platform/whatsapp/jid.js'
import type { ReadMark } from '../../platform/whatsapp/whatsapp.js'
import { newestOf, phoneOf, reachablePhoneOf } from '../contacts/identity-store.js'
import { survivorOf } from '../contacts/survivor-store.js'

interface ChatOwner {
  readonly tenantId: TenantId
  readonly instanceId: InstanceId
}

export interface ChatRef {
  readonly id: ChatId
  readonly instanceId: InstanceId
  /** The newest message that came in. */
  readonly newestInbound: MessageId | null
}

/** A chat of the tenant; a merged one is the chat that it was merged into. */
export async function findChatRef(db: Queryable, tenantId: TenantId, chatId: ChatId): Promise<ChatRef | undefined> {
  const [row] = await db.query<ChatRef>(sql`
    select chat.id, chat.instance_id as "instanceId",
      (select m.id from message m where m.chat_id = chat.id and m.direction = 'inbound' order by m.id desc limit 1)
        as "newestInbound"
    from chat asked join chat on chat.id = ${survivorOf(sql`asked`)}
    where asked.tenant_id = ${tenantId} and asked.id = ${chatId}`)
  return row
}

export async function findChatAddress(
  db: Queryable,
  { tenantId, instanceId }: ChatOwner,
  chatId: ChatId,
): Promise<WhatsAppAddress | undefined> {
  const [row] = await db.query<{
    groupJid: string | null
    phone: string | null
    waId: string | null
    lid: string | null
  }>(
    sql`
      select chat.group_jid as "groupJid", phone.value as phone, phone.wa_id as "waId", lid.value as lid
      from chat
      ${reachablePhoneOf(sql`chat.contact_id`)}
      ${newestOf('lid', sql`chat.contact_id`)}
      where chat.tenant_id = ${tenantId} and chat.instance_id = ${instanceId} and chat.id = ${chatId}`,
    'find-chat-address',
  )
  return row && addressFrom(row)
}

/** Status updates are for who knows us: the people that have written to this number, the latest first. */
const STATUS_AUDIENCE_MAX = 5_000

/** Who may see a status of this number. */
export async function findStatusAudience(
  db: Queryable,
  { tenantId, instanceId }: ChatOwner,
): Promise<WhatsAppAddress[]> {
  const rows = await db.query<{ phone: string | null; waId: string | null; lid: string | null }>(sql`
    select phone.value as phone, phone.wa_id as "waId", lid.value as lid
    from chat
    join lateral (select id from message m where m.chat_id = chat.id and m.direction = 'inbound'
      order by m.id desc limit 1) newest on true
    ${reachablePhoneOf(sql`chat.contact_id`, sql`and on_whatsapp is not false`)}
    ${newestOf('lid', sql`chat.contact_id`)}
    where chat.tenant_id = ${tenantId} and chat.instance_id = ${instanceId} and chat.contact_id is not null
      and chat.merged_into is null and (phone.value is not null or lid.value is not null)
    order by newest.id desc limit ${STATUS_AUDIENCE_MAX}`)
  return rows.map(addressFrom)
}

/** The oldest messages that came in after what was marked as read, up to one. */
export async function findUnread(
  db: Queryable,
  { tenantId, instanceId }: ChatOwner,
  chatId: ChatId,
  { upTo, limit }: { readonly upTo: MessageId; readonly limit: number },
): Promise<(ReadMark & { readonly id: MessageId })[]> {
  const rows = await db.query<{ id: MessageId; whatsappId: string; phone: string | null; lid: string | null }>(sql`
    select m.id, m.whatsapp_id as "whatsappId", phone.value as phone, lid.value as lid
    from message m join chat on chat.id = m.chat_id
    ${phoneOf(sql`m.sender_id`)}
    ${newestOf('lid', sql`m.sender_id`)}
    where m.tenant_id = ${tenantId} and m.instance_id = ${instanceId} and m.chat_id = ${chatId}
      and m.direction = 'inbound' and m.id <= ${upTo}
      and (chat.read_message_id is null or m.id > chat.read_message_id)
    order by m.id limit ${limit}`)
  return rows.map(({ id, whatsappId, phone, lid }) => ({
    id,
    whatsappId,
    author: addressFrom({ phone, lid }),
  }))
}

export async function saveRead(
  db: Queryable,
  { tenantId, instanceId }: ChatOwner,
  chatId: ChatId,
  messageId: MessageId,
): Promise<void> {
  await db.execute(sql`
    update chat set read_message_id = ${messageId}
    where tenant_id = ${tenantId} and instance_id = ${instanceId} and id = ${chatId}
      and (read_message_id is null or read_message_id < ${messageId})`)
}
