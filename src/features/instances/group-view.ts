/** The JSON of a group. */
import { z } from 'zod'
import type { Group } from '../../platform/whatsapp/group.js'
import { phoneFromWaId, type WhatsAppAddress } from '../../platform/whatsapp/jid.js'

const person = z.object({
  phone: z.string().nullable().meta({ description: 'E.164; null where the group hides it' }),
  lid: z.string().nullable(),
})

export const groupView = z
  .object({
    id: z
      .string()
      .meta({ description: 'The jid of the group; `to` of a message.', examples: ['120363025246125486@g.us'] }),
    subject: z.string(),
    description: z.string().nullable(),
    owner: person.nullable(),
    createdAt: z.iso.datetime().nullable(),
    announceOnly: z.boolean().meta({ description: 'Only admins may write.' }),
    locked: z.boolean().meta({ description: 'Only admins may change subject and description.' }),
    participants: z.array(person.extend({ role: z.enum(['member', 'admin', 'superadmin']) })),
  })
  .meta({ id: 'Group' })
export type GroupView = z.infer<typeof groupView>

export const participantOutcome = person.extend({
  ok: z.boolean(),
  code: z
    .number()
    .meta({ description: "WhatsApp's: 403 must be invited, 404 not on WhatsApp, 408 left lately, 409 is in it." }),
})

export function viewGroup(group: Group): GroupView {
  return {
    id: group.jid,
    subject: group.subject,
    description: group.description,
    owner: group.owner && viewPerson(group.owner),
    createdAt: group.createdAt?.toISOString() ?? null,
    announceOnly: group.announceOnly,
    locked: group.locked,
    participants: group.participants.map(({ address, role }) => ({ ...viewPerson(address), role })),
  }
}

export function viewPerson({ waId, lid }: WhatsAppAddress): z.infer<typeof person> {
  return { phone: waId ? phoneFromWaId(waId) : null, lid: lid ?? null }
}
