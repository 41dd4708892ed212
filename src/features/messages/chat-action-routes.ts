/** The HTTP routes for what one does in a chat without writing. Each is done by the holder of the instance. */
import { z } from 'zod'
import { AppError } from '../../kernel/errors.js'
import type { ChatId, TenantId } from '../../kernel/ids.js'
import { type App, idParam } from '../../platform/http/route.js'
import { askHolder } from '../instances/ask-holder.js'
import type { CommandInstanceDeps } from '../instances/command-instance.js'
import { type ChatRef, findChatRef } from './chat-store.js'

const tags = ['Chats']
const params = z.object({ id: idParam('cht') })

export function chatActionRoutes(deps: CommandInstanceDeps): (app: App) => void {
  return (app) => {
    app.post(
      '/api/chats/:id/read',
      {
        config: { scope: 'send' },
        schema: {
          tags,
          summary: 'Mark a chat as read',
          description: 'Tells the authors that everything up to this moment was read, as their privacy settings allow.',
          params,
          response: {
            200: z.object({ count: z.number().int().meta({ description: 'Messages that were marked now.' }) }),
          },
        },
      },
      async (request) => {
        const { tenantId } = request.auth
        const chat = await find(tenantId, request.params.id)
        if (!chat.newestInbound) return { count: 0 }
        const args = { chatId: chat.id, upTo: chat.newestInbound }
        const { count } = await askHolder(deps, { tenantId, instanceId: chat.instanceId }, 'chat_read', args)
        return { count: Number(count) }
      },
    )

    app.post(
      '/api/chats/:id/typing',
      {
        config: { scope: 'send' },
        schema: {
          tags,
          summary: 'Show in a chat that something is being written',
          description: 'WhatsApp lets it fade after some seconds; a message ends it.',
          params,
          body: z.strictObject({ activity: z.enum(['typing', 'recording', 'paused']).default('typing') }),
          response: { 204: z.null() },
        },
      },
      async (request, reply) => {
        const { tenantId } = request.auth
        const chat = await find(tenantId, request.params.id)
        const args = { chatId: chat.id, activity: request.body.activity }
        await askHolder(deps, { tenantId, instanceId: chat.instanceId }, 'chat_typing', args)
        return reply.code(204).send(null)
      },
    )

    app.post(
      '/api/instances/:id/presence',
      {
        config: { scope: 'send' },
        schema: {
          tags: ['Instances'],
          summary: 'Show the number as online, or not',
          params: z.object({ id: idParam('ins') }),
          body: z.strictObject({ presence: z.enum(['available', 'unavailable']) }),
          response: { 204: z.null() },
        },
      },
      async (request, reply) => {
        const owner = { tenantId: request.auth.tenantId, instanceId: request.params.id }
        await askHolder(deps, owner, 'presence', request.body)
        return reply.code(204).send(null)
      },
    )
  }

  async function find(tenantId: TenantId, chatId: ChatId): Promise<ChatRef> {
    const chat = await deps.db.tenantTx(tenantId, (tx) => findChatRef(tx, tenantId, chatId))
    if (!chat) throw new AppError('not_found', { detail: 'No chat has this id.' })
    return chat
  }
}
