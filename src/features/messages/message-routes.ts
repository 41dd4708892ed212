/** The HTTP routes of messages: send, read one. */
import { z } from 'zod'
import { AppError } from '../../kernel/errors.js'
import { type MessageId, parseId, type TenantId } from '../../kernel/ids.js'
import { isStorableJson } from '../../kernel/storable-text.js'
import type { Database } from '../../platform/database/database.js'
import { REPLAYED_HEADER, readIdempotency } from '../../platform/http/idempotency.js'
import { type App, idParam } from '../../platform/http/route.js'
import { contents, type OutboundContent, subjectOf } from '../../platform/whatsapp/content.js'
import { MAX_RECIPIENT_LENGTH } from '../contacts/recipient.js'
import type { News } from '../instances/news.js'
import { sendExamples } from './content-examples.js'
import { type MessageStatus, messageStatuses, rank } from './message.js'
import { findMessage, findStatus } from './message-store.js'
import { messageView, viewMessage } from './message-view.js'
import type { MessageQueue, QueuedAnswer } from './queue-message.js'

export interface MessageRoutesDeps {
  readonly db: Database
  readonly queue: MessageQueue
  readonly news: News
}

const MAX_WAIT_SECONDS = 60

const instanceId = idParam('ins')
const to = z
  .string()
  .min(1)
  .max(MAX_RECIPIENT_LENGTH)
  .meta({
    description: 'E.164 with or without +, a jid, a LID, @username, a business-scoped id, or the jid of a group.',
    examples: ['+5511987654321'],
  })
const common = {
  instanceId,
  metadata: z
    .record(z.string().max(100), z.unknown())
    .refine(isStorableJson, 'must not hold NUL characters or halves of surrogate pairs')
    .optional()
    .meta({ description: 'Yours; comes back in events.' }),
}
const context = z
  .strictObject({ messageId: idParam('msg') })
  .optional()
  .meta({ description: 'The message that this one answers.' })
const toSomebody = { ...common, to, context }
const toNobody = { to: undefined, context: undefined }
/** Strict: what this version does not do is refused, not swallowed. */
export const sendBody = z
  .discriminatedUnion('type', [
    z.strictObject({ ...toSomebody, ...contents.text.shape }),
    z.strictObject({ ...toSomebody, ...contents.image.shape }),
    z.strictObject({ ...toSomebody, ...contents.video.shape }),
    z.strictObject({ ...toSomebody, ...contents.audio.shape }),
    z.strictObject({ ...toSomebody, ...contents.document.shape }),
    z.strictObject({ ...toSomebody, ...contents.sticker.shape }),
    z.strictObject({ ...toSomebody, ...contents.location.shape }),
    z.strictObject({ ...toSomebody, ...contents.contacts.shape }),
    z.strictObject({ ...toSomebody, ...contents.poll.shape }),
    // These go to the chat of the message that they are about.
    z.strictObject({ ...common, ...contents.vote.shape }),
    z.strictObject({ ...common, ...contents.reaction.shape }),
    z.strictObject({ ...common, ...contents.edit.shape }),
    z.strictObject({ ...common, ...contents.delete.shape }),
  ])
  .meta({ examples: sendExamples })

export const queuedAnswer = z
  .object({
    id: z.string(),
    whatsappId: z.string(),
    status: z.enum(messageStatuses),
    links: z.object({ self: z.string() }),
  })
  .meta({ id: 'QueuedMessage' })

export function messageRoutes({ db, queue, news }: MessageRoutesDeps): (app: App) => void {
  return (app) => {
    app.post(
      '/api/messages',
      {
        config: { scope: 'send', idempotency: 'own' },
        schema: {
          tags: ['Messages'],
          summary: 'Send a message',
          description:
            'Answers 202 after the message is durable. From then on it is delivered to WhatsApp or reported failed; it is only ever resent under its `whatsappId`. With `?wait=` the answer is held until WhatsApp acknowledged it, or for so many seconds.',
          querystring: z.object({ wait: z.coerce.number().int().min(0).max(MAX_WAIT_SECONDS).default(0) }),
          body: sendBody,
          response: { 202: queuedAnswer },
        },
      },
      async (request, reply) => {
        const { tenantId } = request.auth
        const { instanceId, metadata, to, context } = { ...toNobody, ...request.body }
        const content = contentOf(request.body)
        const { answer, replayed } = await queue.queue({
          tenantId,
          instanceId,
          to,
          content,
          contextId: context?.messageId ?? messageIdOf(content),
          origin: 'api',
          metadata: metadata ?? null,
          idempotency: readIdempotency(request),
        })
        if (replayed) reply.header(REPLAYED_HEADER, 'true')
        return reply.code(202).send(await withStatus(tenantId, answer, request.query.wait))
      },
    )

    app.get(
      '/api/messages/:id',
      {
        config: { scope: 'read' },
        schema: {
          tags: ['Messages'],
          summary: 'Read a message',
          params: z.object({ id: idParam('msg') }),
          response: { 200: messageView },
        },
      },
      async (request) => {
        const { tenantId } = request.auth
        const row = await db.tenantTx(tenantId, (tx) => findMessage(tx, tenantId, request.params.id))
        if (!row) throw new AppError('not_found', { detail: 'No message has this id.' })
        return viewMessage(row)
      },
    )
  }

  async function withStatus(tenantId: TenantId, answer: QueuedAnswer, waitSeconds: number) {
    const messageId = parseId('msg', answer.id)
    if (waitSeconds === 0 || !messageId) return answer
    // It is accepted, whatever becomes of the waiting: an error now would make the caller send it again.
    const status = await waitForAck(tenantId, messageId, waitSeconds).catch(() => undefined)
    return { ...answer, status: status ?? answer.status }
  }

  async function waitForAck(
    tenantId: TenantId,
    messageId: MessageId,
    waitSeconds: number,
  ): Promise<MessageStatus | undefined> {
    const acknowledged = await news.until<MessageStatus>({
      channel: 'mirante_event',
      about: tenantId,
      timeoutMs: waitSeconds * 1_000,
      look: async () => {
        const now = await findStatus(db, tenantId, messageId)
        return now && rank(now) >= rank('unknown') ? now : undefined
      },
    })
    return acknowledged ?? findStatus(db, tenantId, messageId)
  }
}

/** The content of a request: its type, and the member that this names. */
const contentOf = (body: z.infer<typeof sendBody>): OutboundContent =>
  ({ type: body.type, [body.type]: body[body.type as never] }) as unknown as OutboundContent

/** The message that the content is about, if it is about one. */
function messageIdOf(content: OutboundContent): MessageId | undefined {
  const given = subjectOf(content)
  if (given === undefined) return undefined
  const id = parseId('msg', given)
  if (id) return id
  const detail = 'No message has this id.'
  throw new AppError('invalid_request', { errors: [{ pointer: `/${content.type}/messageId`, detail }] })
}
