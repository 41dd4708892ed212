/** The message that another one answers, changes or judges, as the holder needs it to write to WhatsApp. */
import sql, { type Sql } from 'sql-template-tag'
import type { InboundContent, OutboundContent } from '../../platform/whatsapp/content.js'
import { addressFrom } from '../../platform/whatsapp/jid.js'
import type { MessageReference } from '../../platform/whatsapp/whatsapp.js'
import { newestOf, phoneOf } from '../contacts/identity-store.js'

/** All null where a message has no reference. */
export interface ReferenceRow {
  /** The message's own secret. */
  readonly secret: Buffer | null
  readonly refWhatsappId: string | null
  readonly refDirection: 'outbound' | 'inbound' | null
  readonly refContent: OutboundContent | InboundContent | null
  readonly refSecret: Buffer | null
  readonly refPhone: string | null
  readonly refWaId: string | null
  readonly refLid: string | null
}

/** Columns of a ReferenceRow, for a statement with the message as `c` and `referenceJoins` in it. */
export const referenceColumns: Sql = sql`c.secret, ref.whatsapp_id as "refWhatsappId", ref.direction as "refDirection",
  ref.content as "refContent", ref.secret as "refSecret", ref_phone.value as "refPhone", ref_phone.wa_id as "refWaId",
  ref_lid.value as "refLid"`

/** Costs nothing where `c.context_id` is null. */
export const referenceJoins: Sql = sql`
  left join lateral (select whatsapp_id, direction, content, secret, sender_id from message
    where id = c.context_id and tenant_id = c.tenant_id limit 1) ref on c.context_id is not null
    ${phoneOf(sql`ref.sender_id`, 'ref_phone')}
    ${newestOf('lid', sql`ref.sender_id`, 'ref_lid')}`

export function referenceOf(row: ReferenceRow): MessageReference | undefined {
  if (row.refWhatsappId === null) return undefined
  const author = addressFrom({ phone: row.refPhone, waId: row.refWaId, lid: row.refLid })
  return {
    whatsappId: row.refWhatsappId,
    author: row.refDirection === 'outbound' ? undefined : author,
    content: row.refContent ?? undefined,
  }
}
