/** What people do to a message that is there: edit, delete for everyone, react, vote. Each is a message of its own. */
import type { FastifyRequest } from 'fastify'
import { z } from 'zod'
import { AppError } from '../../kernel/errors.js'
import { type MessageId, publicId } from '../../kernel/ids.js'
import type { Database } from '../../platform/database/database.js'
import { REPLAYED_HEADER, readIdempotency } from '../../platform/http/idempotency.js'
import { type App, idParam } from '../../platform/http/route.js'
import { contents, type OutboundContent } from '../../platform/whatsapp/content.js'
import { queuedAnswer } from './message-routes.js'
import type { MessageQueue, QueuedAnswer } from './queue-message.js'
import { findReferenced } from './sent-store.js'

export interface MessageChangeRoutesDeps {
  readonly db: Database
  readonly queue: MessageQueue
}

const params = z.object({ id: idParam('msg') })
const config = { scope: 'send', idempotency: 'own' } as const
const response = { 202: queuedAnswer }

export function messageChangeRoutes({ db, queue }: MessageChangeRoutesDeps): (app: App) => void {
  return (app) => {
    app.patch(
      '/api/messages/:id',
      {
        config,
        schema: {
          tags: ['Messages'],
          summary: 'Edit a message',
          description: 'A text, or the caption of media, that this instance sent in the last 15 minutes.',
          params,
          body: contents.edit.shape.edit.omit({ messageId: true }),
          response,
        },
      },
      async (request, reply) => {
        const { answer, replayed } = await change(request, request.params.id, (messageId) => ({
          type: 'edit',
          edit: { ...request.body, messageId },
        }))
        if (replayed) reply.header(REPLAYED_HEADER, 'true')
        return reply.code(202).send(answer)
      },
    )

    app.delete(
      '/api/messages/:id',
      {
        config,
        schema: {
          tags: ['Messages'],
          summary: 'Delete a message for everyone',
          description:
            'One that this instance sent in the last 60 hours; in a group of which it is an admin, also those of others.',
          params,
          response,
        },
      },
      async (request, reply) => {
        const { answer, replayed } = await change(request, request.params.id, (messageId) => ({
          type: 'delete',
          delete: { messageId },
        }))
        if (replayed) reply.header(REPLAYED_HEADER, 'true')
        return reply.code(202).send(answer)
      },
    )

    app.post(
      '/api/messages/:id/reaction',
      {
        config,
        schema: {
          tags: ['Messages'],
          summary: 'React to a message',
          params,
          body: contents.reaction.shape.reaction.omit({ messageId: true }),
          response,
        },
      },
      async (request, reply) => {
        const { answer, replayed } = await change(request, request.params.id, (messageId) => ({
          type: 'reaction',
          reaction: { ...request.body, messageId },
        }))
        if (replayed) reply.header(REPLAYED_HEADER, 'true')
        return reply.code(202).send(answer)
      },
    )

    app.post(
      '/api/messages/:id/vote',
      {
        config,
        schema: {
          tags: ['Messages'],
          summary: 'Vote in a poll',
          params,
          body: contents.vote.shape.vote.omit({ messageId: true }),
          response,
        },
      },
      async (request, reply) => {
        const { answer, replayed } = await change(request, request.params.id, (messageId) => ({
          type: 'vote',
          vote: { ...request.body, messageId },
        }))
        if (replayed) reply.header(REPLAYED_HEADER, 'true')
        return reply.code(202).send(answer)
      },
    )
  }

  async function change(
    request: FastifyRequest,
    messageId: MessageId,
    contentFor: (messageId: string) => OutboundContent,
  ): Promise<{ readonly answer: QueuedAnswer; readonly replayed: boolean }> {
    const { tenantId } = request.auth
    const target = await findReferenced(db, tenantId, messageId)
    if (!target) throw new AppError('not_found', { detail: 'No message has this id.' })
    return queue.queue({
      tenantId,
      instanceId: target.instanceId,
      content: contentFor(publicId('msg', target.id)),
      contextId: target.id,
      origin: 'api',
      metadata: null,
      idempotency: readIdempotency(request),
    })
  }
}
