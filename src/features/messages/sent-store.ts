/** Messages that others are about: what was once sent, for a recipient that asks again; what is answered or judged. */
import sql from 'sql-template-tag'
import type { InstanceId, MediaId, MessageId, TenantId } from '../../kernel/ids.js'
import type { Queryable } from '../../platform/database/database.js'
import type { OutboundContent } from '../../platform/whatsapp/content.js'
import { addressFrom } from '../../platform/whatsapp/jid.js'
import type { SentMessage } from '../../platform/whatsapp/whatsapp.js'
import { newestOf, reachablePhoneOf } from '../contacts/identity-store.js'
import type { Referenced } from './about-another.js'
import { type ReferenceRow, referenceColumns, referenceJoins, referenceOf } from './reference-store.js'

interface SentRow extends ReferenceRow {
  readonly content: OutboundContent
  readonly mediaId: MediaId | null
  readonly groupJid: string | null
  readonly phone: string | null
  readonly waId: string | null
  readonly lid: string | null
}

export async function findSent(
  db: Queryable,
  tenantId: TenantId,
  instanceId: InstanceId,
  whatsappId: string,
): Promise<{ readonly message: SentMessage; readonly mediaId: MediaId | null } | undefined> {
  const [row] = await db.query<SentRow>(
    sql`
      select c.content, c.media_id as "mediaId", chat.group_jid as "groupJid", phone.value as phone, phone.wa_id as "waId", lid.value as lid,
        ${referenceColumns}
      from message c
      join chat own_chat on own_chat.id = c.chat_id
      join chat on chat.id = coalesce(own_chat.merged_into, own_chat.id)
      ${reachablePhoneOf(sql`chat.contact_id`)}
      ${newestOf('lid', sql`chat.contact_id`)}
      ${referenceJoins}
      where c.tenant_id = ${tenantId} and c.instance_id = ${instanceId} and c.whatsapp_id = ${whatsappId}
        and c.direction = 'outbound'`,
    'find-sent',
  )
  if (!row) return undefined
  const message = {
    to: addressFrom(row),
    content: row.content,
    reference: referenceOf(row),
    secret: row.secret ?? row.refSecret ?? undefined,
  }
  return { message, mediaId: row.mediaId }
}

export async function findReferenced(
  db: Queryable,
  tenantId: TenantId,
  messageId: MessageId,
): Promise<Referenced | undefined> {
  const [row] = await db.query<Referenced>(
    sql`
      select m.id, m.instance_id as "instanceId", m.chat_id as "chatId", m.whatsapp_id as "whatsappId", m.direction,
        chat.group_jid is not null as "inGroup", m.status, m.content, m.secret is not null as "hasSecret",
        m.created_at as "createdAt", m.deleted_at as "deletedAt"
      from message m join chat on chat.id = m.chat_id
      where m.tenant_id = ${tenantId} and m.id = ${messageId}`,
    'find-referenced',
  )
  return row
}
