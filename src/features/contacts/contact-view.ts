/** The JSON of a contact, the same in the API and in events. */
import { z } from 'zod'
import { type ContactId, type EventId, publicId, type TenantId } from '../../kernel/ids.js'
import type { Database } from '../../platform/database/database.js'
import { waIdFromPhone } from '../../platform/whatsapp/jid.js'
import type { RecordedEvent } from '../events/event.js'
import { type ContactDetails, type ContactRow, findContacts } from './contact-store.js'

export const contactView = z
  .object({
    id: z.string().meta({ examples: ['con_01J8Z3V9K7QW5XN2M4T6R8Y0BC'] }),
    name: z
      .string()
      .nullable()
      .meta({ description: 'Your own name for it, else the saved one, else the one it shows.' }),
    phone: z.string().nullable().meta({ description: 'E.164' }),
    waId: z.string().nullable().meta({ description: 'The number as WhatsApp knows it, without +.' }),
    lid: z.string().nullable(),
    username: z.string().nullable().meta({ description: 'Without @.' }),
    bsuid: z.string().nullable().meta({ description: 'Business-scoped user id.' }),
  })
  .meta({ id: 'Contact' })
export type ContactView = z.infer<typeof contactView>

const name = z.string().nullable()

export const contactDetailsView = contactView
  .extend({
    names: z.object({
      given: name.meta({ description: 'Yours: PATCH /api/contacts/:id' }),
      saved: name.meta({ description: "In the address book of an instance's phone." }),
      push: name.meta({ description: 'What the person calls itself.' }),
    }),
    identities: z.array(
      z.object({
        kind: z.enum(['phone', 'lid', 'username', 'bsuid']),
        value: z.string(),
        waId: z.string().nullable(),
        onWhatsApp: z.boolean().nullable().meta({ description: 'Null: WhatsApp was never asked.' }),
        checkedAt: z.iso.datetime().nullable(),
        since: z.iso.datetime(),
      }),
    ),
    chats: z.array(z.object({ id: z.string(), instanceId: z.string() })),
    createdAt: z.iso.datetime(),
    updatedAt: z.iso.datetime(),
  })
  .meta({ id: 'ContactDetails' })

export function viewContact({ id, name, phone, waId, lid, username, bsuid }: ContactRow): ContactView {
  return { id: publicId('con', id), name, phone, waId: waId ?? (phone && waIdFromPhone(phone)), lid, username, bsuid }
}

export function viewContactDetails(row: ContactRow, details: ContactDetails): z.infer<typeof contactDetailsView> {
  const { givenName: given, savedName: saved, pushName: push, identities, chats, createdAt, updatedAt } = details
  return {
    ...viewContact(row),
    names: { given, saved, push },
    identities: identities.map((identity) => ({
      ...identity,
      checkedAt: identity.checkedAt && new Date(identity.checkedAt).toISOString(),
      since: new Date(identity.since).toISOString(),
    })),
    chats: chats.map((chat) => ({ id: publicId('cht', chat.id), instanceId: publicId('ins', chat.instanceId) })),
    createdAt: createdAt.toISOString(),
    updatedAt: updatedAt.toISOString(),
  }
}

/** The contact as it is now, with what happened to it. */
export async function describeContactEvents(
  db: Database,
  tenantId: TenantId,
  events: readonly RecordedEvent[],
): Promise<ReadonlyMap<EventId, unknown>> {
  const contacts = await viewSubjects(db, tenantId, events)
  return new Map(
    events.flatMap(({ id, subjectId, data }) => {
      const contact = contacts.get(subjectId as ContactId)
      return contact ? [[id, { ...contact, ...data }] as const] : []
    }),
  )
}

/** The contacts that events are about, as they are now. */
export async function viewSubjects(
  db: Database,
  tenantId: TenantId,
  events: readonly RecordedEvent[],
): Promise<ReadonlyMap<ContactId, ReturnType<typeof viewContact>>> {
  const contactIds = [...new Set(events.map(({ subjectId }) => subjectId as ContactId))]
  return new Map((await findContacts(db, tenantId, contactIds)).map((row) => [row.id, viewContact(row)]))
}
