/** With whom a chat is, the same in every view. */
import { z } from 'zod'
import { publicId } from '../../kernel/ids.js'
import { waIdFromPhone } from '../../platform/whatsapp/jid.js'
import type { MessageRow } from './message.js'

export const chatIdentity = {
  id: z.string().meta({ examples: ['cht_01J8Z3V9K7QW5XN2M4T6R8Y0BC'] }),
  contactId: z.string().nullable().meta({ description: 'The person, whatever becomes of number and LID.' }),
  phone: z.string().nullable().meta({ description: 'E.164' }),
  lid: z.string().nullable(),
  username: z.string().nullable(),
  bsuid: z.string().nullable().meta({ description: 'Business-scoped user id.' }),
  waId: z.string().nullable().meta({ description: 'The number as WhatsApp knows it, without +.' }),
  name: z.string().nullable(),
  groupJid: z.string().nullable().meta({ description: 'Of a group; a person has phone, lid and waId.' }),
}

export const groupSender = z
  .object({ phone: z.string().nullable(), lid: z.string().nullable(), name: z.string().nullable() })
  .nullable()
  .meta({ description: 'Who wrote it, in a group. Null: the person of the chat, or our own number.' })

export function viewChatIdentity(row: MessageRow) {
  return {
    id: publicId('cht', row.chatId),
    contactId: row.contactId && publicId('con', row.contactId),
    phone: row.phone,
    lid: row.lid,
    username: row.username,
    bsuid: row.bsuid,
    waId: row.waId ?? (row.phone ? waIdFromPhone(row.phone) : null),
    name: row.name,
    groupJid: row.groupJid,
  }
}

export function viewGroupSender(row: MessageRow): z.infer<typeof groupSender> {
  if (row.groupJid === null || row.senderId === null) return null
  return { phone: row.senderPhone, lid: row.senderLid, name: row.senderName }
}
