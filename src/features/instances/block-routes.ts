/** The HTTP routes of blocking. They lie here, and not with the contacts, because it is an instance's account that blocks. */
import { z } from 'zod'
import { AppError } from '../../kernel/errors.js'
import { type ContactId, type InstanceId, publicId, type TenantId } from '../../kernel/ids.js'
import type { Database } from '../../platform/database/database.js'
import { type App, idParam } from '../../platform/http/route.js'
import { findContacts } from '../contacts/contact-store.js'
import { viewContact } from '../contacts/contact-view.js'
import { findLivingContact, listBlocked } from './block-store.js'
import { type CommandInstanceDeps, commandInstance } from './command-instance.js'
import { findInstance, type InstanceRow } from './instance-store.js'

const LIST_MAX = 1_000

const blockState = z
  .object({ contactId: z.string(), instanceId: z.string(), blocked: z.boolean() })
  .meta({ id: 'BlockState' })

const blocked = z
  .object({
    contact: z.object({
      id: z.string(),
      name: z.string().nullable(),
      phone: z.string().nullable(),
      waId: z.string().nullable(),
      lid: z.string().nullable(),
    }),
    since: z.iso.datetime().meta({ description: 'Since when Mirante knows of it.' }),
  })
  .meta({ id: 'BlockedContact' })

const routes = [
  {
    verb: 'block',
    isBlocked: true,
    summary: 'Block a contact',
    description: 'The account of this instance hears nothing of that person any more, who is not told.',
  },
  {
    verb: 'unblock',
    isBlocked: false,
    summary: 'Unblock a contact',
    description: 'What they wrote meanwhile is lost.',
  },
] as const

export function blockRoutes(deps: CommandInstanceDeps): (app: App) => void {
  const { db } = deps
  return (app) => {
    for (const { verb, isBlocked, summary, description } of routes) {
      app.post(
        `/api/contacts/:id/${verb}`,
        {
          config: { scope: 'send' },
          schema: {
            tags: ['Contacts'],
            summary,
            description,
            params: z.object({ id: idParam('con') }),
            body: z.strictObject({ instanceId: idParam('ins') }),
            response: { 200: blockState },
          },
        },
        async (request) => {
          const { tenantId } = request.auth
          const instance = await findEnabled(db, tenantId, request.body.instanceId)
          const contactId = await findPerson(db, tenantId, request.params.id)
          const owner = { tenantId, instanceId: instance.id }
          await commandInstance(deps, owner, 'set_block', { contactId, blocked: isBlocked })
          const names = { contactId: publicId('con', contactId), instanceId: publicId('ins', instance.id) }
          return { ...names, blocked: isBlocked }
        },
      )
    }

    app.get(
      '/api/instances/:id/blocklist',
      {
        config: { scope: 'read' },
        schema: {
          tags: ['Instances'],
          summary: 'List whom an instance has blocked',
          description: `Of the people that Mirante knows; at most ${LIST_MAX}, the last blocked first.`,
          params: z.object({ id: idParam('ins') }),
          response: { 200: z.object({ data: z.array(blocked) }) },
        },
      },
      async (request) => {
        const { tenantId } = request.auth
        const { id } = await findRow(db, tenantId, request.params.id)
        const rows = await listBlocked(db, { tenantId, instanceId: id }, LIST_MAX)
        const contactIds = rows.map(({ contactId }) => contactId)
        const contacts = new Map((await findContacts(db, tenantId, contactIds)).map((row) => [row.id, row]))
        const data = rows.flatMap(({ contactId, since }) => {
          const row = contacts.get(contactId)
          return row ? [{ contact: viewContact(row), since: since.toISOString() }] : []
        })
        return { data }
      },
    )
  }
}

async function findRow(db: Database, tenantId: TenantId, id: InstanceId): Promise<InstanceRow> {
  const row = await db.tenantTx(tenantId, (tx) => findInstance(tx, tenantId, id))
  if (!row) throw new AppError('not_found', { detail: 'No instance has this id.' })
  return row
}

async function findEnabled(db: Database, tenantId: TenantId, id: InstanceId): Promise<InstanceRow> {
  const row = await findRow(db, tenantId, id)
  if (!row.enabled) throw new AppError('instance_disabled')
  return row
}

async function findPerson(db: Database, tenantId: TenantId, id: ContactId): Promise<ContactId> {
  const living = await db.tenantTx(tenantId, (tx) => findLivingContact(tx, tenantId, id))
  if (!living) throw new AppError('not_found', { detail: 'No contact has this id.' })
  return living
}
