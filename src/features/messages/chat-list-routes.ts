/** `GET /api/chats` and `GET /api/chats/:id/messages`. */
import { z } from 'zod'
import { AppError } from '../../kernel/errors.js'
import { type ChatId, type InstanceId, parseId, type TenantId } from '../../kernel/ids.js'
import { isStorable } from '../../kernel/storable-text.js'
import type { Tx } from '../../platform/database/database.js'
import type { Reader } from '../../platform/database/reader.js'
import { type App, idParam, pageOf, pageQuery } from '../../platform/http/route.js'
import { parseJid } from '../../platform/whatsapp/jid.js'
import { findOwners } from '../contacts/identity-store.js'
import { phonesOf } from '../contacts/join-identities.js'
import { MAX_RECIPIENT_LENGTH, parseRecipient } from '../contacts/recipient.js'
import { findChatWith, hasChat, listChats } from './chat-list-store.js'
import { chatView, viewChat } from './chat-view.js'
import { pageOfMessages, parseMessageCursor } from './message-cursor.js'
import { listMessages } from './message-store.js'
import { messageView, viewMessage } from './message-view.js'

const tags = ['Chats']

export function chatListRoutes({ reader }: { readonly reader: Reader }): (app: App) => void {
  return (app) => {
    addList(app, reader)
    addMessages(app, reader)
  }
}

function addList(app: App, reader: Reader): void {
  app.get(
    '/api/chats',
    {
      config: { scope: 'read' },
      schema: {
        tags,
        summary: 'List chats, the latest activity first',
        description:
          'Every chat that has a message, with its newest one. A chat that gets a message while you page moves to the front; none comes twice.',
        querystring: pageQuery
          .extend({
            instanceId: idParam('ins').optional(),
            q: z
              .string()
              .trim()
              .min(1)
              .max(100)
              .refine(isStorable, 'must not hold NUL characters or halves of surrogate pairs')
              .optional()
              .meta({
                description:
                  'Part of a name, of a username or of the subject of a group, or digits of a number or LID.',
                examples: ['98765-4321'],
              }),
          })
          .strict(),
        response: { 200: pageOf(chatView) },
      },
    },
    async (request) => {
      const { tenantId } = request.auth
      const { limit, cursor, ...rest } = request.query
      const filter = { ...rest, before: parseMessageCursor(cursor), limit: limit + 1 }
      const rows = await reader.tenantTx(tenantId, (tx) => listChats(tx, tenantId, filter))
      return pageOfMessages(rows, limit, viewChat)
    },
  )
}

const chatParam = z
  .string()
  .max(MAX_RECIPIENT_LENGTH)
  .meta({
    description:
      'The id of a chat. Or with `instanceId` whom it is with: E.164 with or without +, a jid, a LID with @lid, @username, a business-scoped id, or the jid of a group.',
    examples: ['cht_01J8Z3V9K7QW5XN2M4T6R8Y0BC'],
  })

function addMessages(app: App, reader: Reader): void {
  app.get(
    '/api/chats/:id/messages',
    {
      config: { scope: 'read' },
      schema: {
        tags,
        summary: 'Read the messages of a chat, in either direction',
        params: z.object({ id: chatParam }),
        querystring: pageQuery
          .extend({
            cursor: pageQuery.shape.cursor.meta({
              description: 'The `nextCursor` of a page, or the id of any message: what follows it in this order.',
            }),
            instanceId: idParam('ins').optional(),
            order: z.enum(['desc', 'asc']).default('desc').meta({ description: '`desc`: the newest first.' }),
          })
          .strict(),
        response: { 200: pageOf(messageView) },
      },
    },
    async (request) => {
      const { tenantId } = request.auth
      const { limit, cursor, instanceId, order } = request.query
      const from = parseMessageCursor(cursor)
      const position = order === 'asc' ? ({ after: from, order: 'oldest_first' } as const) : ({ before: from } as const)
      const rows = await reader.tenantTx(tenantId, async (tx) => {
        const chatId = await findChat(tx, tenantId, request.params.id, instanceId)
        return listMessages(tx, tenantId, { ...position, chatId, limit: limit + 1 })
      })
      return pageOfMessages(rows, limit, viewMessage)
    },
  )
}

async function findChat(
  tx: Tx,
  tenantId: TenantId,
  named: string,
  instanceId: InstanceId | undefined,
): Promise<ChatId> {
  const chatId = parseId('cht', named)
  const found = chatId
    ? (await hasChat(tx, tenantId, chatId, instanceId)) && chatId
    : await findByOther(tx, tenantId, named, instanceId)
  if (!found) throw new AppError('not_found', { detail: 'There is no such chat.' })
  return found
}

async function findByOther(
  tx: Tx,
  tenantId: TenantId,
  named: string,
  instanceId: InstanceId | undefined,
): Promise<ChatId | undefined> {
  const groupJid = parseJid(named)?.groupJid
  const identity = groupJid ? undefined : parseRecipient(named, '/id')
  if (!instanceId) {
    const detail = 'Name the instance, or give the id of the chat.'
    throw new AppError('invalid_request', { errors: [{ pointer: '/instanceId', detail }] })
  }
  if (!identity) return groupJid ? findChatWith(tx, { tenantId, instanceId }, { groupJid }) : undefined
  const spellings = identity.kind === 'phone' ? phonesOf(identity.value) : [identity]
  const owners = await findOwners(tx, tenantId, spellings)
  const contactId = owners.find((owner) => owner !== undefined)
  return contactId && findChatWith(tx, { tenantId, instanceId }, { contactId })
}
