/** The HTTP routes of contacts: list, read, name, and which numbers are on WhatsApp. */
import { z } from 'zod'
import { AppError } from '../../kernel/errors.js'
import { type ContactId, type IdGenerator, parseId, publicId, type TenantId } from '../../kernel/ids.js'
import { isStorableJson } from '../../kernel/storable-text.js'
import type { Database, Tx } from '../../platform/database/database.js'
import type { Reader } from '../../platform/database/reader.js'
import { type App, idParam, pageOf, pageQuery } from '../../platform/http/route.js'
import { record } from '../events/record.js'
import { type CheckNumbers, checkPace, MAX_NUMBERS } from './check-numbers.js'
import { findContactDetails, findContacts, listContacts, renameContact } from './contact-store.js'
import { contactDetailsView, contactView, viewContact, viewContactDetails } from './contact-view.js'
import { MAX_RECIPIENT_LENGTH } from './recipient.js'

export interface ContactRoutesDeps {
  readonly db: Database
  /** For the list. */
  readonly reader: Reader
  readonly ids: IdGenerator
  readonly checkNumbers: CheckNumbers
}

const tags = ['Contacts']
const params = z.object({ id: idParam('con') })
const storable = (text: string): boolean => isStorableJson(text)

const checkedNumber = z.object({
  input: z.string(),
  exists: z.boolean(),
  phone: z.string().meta({ description: 'What was asked for, in E.164.' }),
  waId: z.string().nullable().meta({ description: 'The number as WhatsApp knows it; may differ by a ninth digit.' }),
  lid: z.string().nullable(),
  contactId: z.string().nullable().meta({ description: 'Who it is, where you know the person.' }),
  checkedAt: z.iso.datetime().meta({ description: 'When WhatsApp said so.' }),
})

export function contactRoutes(deps: ContactRoutesDeps): (app: App) => void {
  return (app) => {
    addReads(app, deps)
    addRename(app, deps)
    addCheck(app, deps)
  }
}

function addReads(app: App, { db, reader }: ContactRoutesDeps): void {
  app.get(
    '/api/contacts',
    {
      config: { scope: 'read' },
      schema: {
        tags,
        summary: 'List contacts, the newest first',
        querystring: pageQuery
          .extend({
            q: z
              .string()
              .trim()
              .min(1)
              .max(100)
              .refine(storable, 'must not hold NUL characters or halves of surrogate pairs')
              .optional()
              .meta({ description: 'Part of a name or username, or digits of a number or LID.' }),
            instanceId: idParam('ins').optional().meta({ description: 'Who has a chat with this instance.' }),
          })
          .strict(),
        response: { 200: pageOf(contactView) },
      },
    },
    async (request) => {
      const { tenantId } = request.auth
      const { limit, cursor, q, instanceId } = request.query
      const filter = { q, instanceId, before: parseCursor(cursor), limit: limit + 1 }
      const rows = await reader.tenantTx(tenantId, (tx) => listContacts(tx, tenantId, filter))
      const page = rows.slice(0, limit)
      const last = rows.length > limit ? page.at(-1) : undefined
      return { data: page.map(viewContact), nextCursor: last ? publicId('con', last.id) : null }
    },
  )

  app.get(
    '/api/contacts/:id',
    {
      config: { scope: 'read' },
      schema: {
        tags,
        summary: 'Read a contact: all its identities, names and chats',
        description: 'The id of a contact that was merged into another leads to that one.',
        params,
        response: { 200: contactDetailsView },
      },
    },
    async (request) => db.tenantTx(request.auth.tenantId, (tx) => find(tx, request.auth.tenantId, request.params.id)),
  )
}

function addRename(app: App, { db, ids }: ContactRoutesDeps): void {
  app.patch(
    '/api/contacts/:id',
    {
      config: { scope: 'settings' },
      schema: {
        tags,
        summary: 'Name a contact',
        description: 'Your own name for it stands before the one that it shows. Null takes yours away.',
        params,
        body: z.strictObject({
          name: z
            .string()
            .trim()
            .min(1)
            .max(200)
            .regex(/^[^\p{Cc}]*$/u, 'must not contain control characters')
            .refine(storable, 'must not hold halves of surrogate pairs')
            .nullable(),
        }),
        response: { 200: contactDetailsView },
      },
    },
    async (request) => {
      const { tenantId } = request.auth
      return db.tenantTx(tenantId, async (tx) => {
        const given = { source: 'given', name: request.body.name } as const
        const changed = await renameContact(tx, tenantId, request.params.id, given)
        const contact = await find(tx, tenantId, request.params.id)
        if (changed) {
          const subjectId = parseId('con', contact.id) ?? null
          const event = { id: ids.next('evt'), tenantId, type: 'contact.updated', instanceId: null, subjectId } as const
          await record(tx, [{ ...event, data: { reason: 'renamed', name: contact.name } }])
        }
        return contact
      })
    },
  )
}

function addCheck(app: App, { checkNumbers }: ContactRoutesDeps): void {
  const { burst, everyMs } = checkPace
  app.post(
    '/api/contacts/check',
    {
      config: { scope: 'send' },
      schema: {
        tags,
        summary: 'Ask which numbers are on WhatsApp',
        description:
          `Answers in the order of \`numbers\`. What WhatsApp said in the last 30 days (a day, where a number was missing) is not asked again. ` +
          `New numbers count towards the pace of the instance: ${burst} at once after a rest, then one each ${everyMs / 1_000} seconds; beyond it 429 with Retry-After, and nothing is asked. ` +
          'The instance must be connected. No contact is made.',
        body: z.strictObject({
          instanceId: idParam('ins'),
          numbers: z.array(z.string().min(1).max(MAX_RECIPIENT_LENGTH)).min(1).max(MAX_NUMBERS),
        }),
        response: { 200: z.object({ data: z.array(checkedNumber) }) },
      },
    },
    async (request) => {
      const { instanceId, numbers } = request.body
      const checked = await checkNumbers({ tenantId: request.auth.tenantId, instanceId }, numbers)
      return { data: checked.map((number) => ({ ...number, checkedAt: number.checkedAt.toISOString() })) }
    },
  )
}

async function find(tx: Tx, tenantId: TenantId, contactId: ContactId) {
  const details = await findContactDetails(tx, tenantId, contactId)
  const [row] = details ? await findContacts(tx, tenantId, [details.id]) : []
  if (!details || !row) throw new AppError('not_found', { detail: 'No contact has this id.' })
  return viewContactDetails(row, details)
}

function parseCursor(cursor: string | undefined): ContactId | undefined {
  if (cursor === undefined) return undefined
  const id = parseId('con', cursor)
  if (id) return id
  const detail = 'Pass the nextCursor of the page before.'
  throw new AppError('invalid_request', { errors: [{ pointer: '/cursor', detail }] })
}
