/** `GET /api/messages/:id/trace`. */
import { z } from 'zod'
import { publicId } from '../../kernel/ids.js'
import type { Reader } from '../../platform/database/reader.js'
import { type App, idParam } from '../../platform/http/route.js'
import { messageStatuses } from '../messages/message.js'
import { deliveryWithAttempts, viewDeliveryWithAttempts } from '../webhooks/webhook-view.js'
import { type Trace, traceMessage, traceSteps } from './trace.js'

const time = z.iso.datetime()

const traceStep = z
  .object({
    step: z.enum(traceSteps).meta({
      description:
        'accepted (durable here) · held, released (it waited, it may go) · claimed (a try begins) · left (journaled, and its bytes let go) · acknowledged (by WhatsApp’s server) · delivered, read, played (receipts) · not_sent (the try surely did not reach WhatsApp), maybe_sent (it may have: the same id goes again), failed, gave_up (`unknown`) · resend, cancelled (somebody asked for it) · received (WhatsApp’s time), stored',
    }),
    at: time.meta({ description: 'WhatsApp’s time for acknowledgement and receipts, in whole seconds; else ours.' }),
    recordedAt: time.nullable().meta({ description: 'When we learnt of it, where `at` is WhatsApp’s word.' }),
    attempt: z.int().nullable(),
    epoch: z.int().nullable().meta({ description: 'Of the lease under which it was claimed.' }),
    replica: z.string().nullable().meta({ description: 'The replica that held the number then.' }),
    code: z
      .string()
      .nullable()
      .meta({ examples: ['ack_timeout', 'not_on_whatsapp'] }),
  })
  .meta({
    id: 'TraceStep',
    examples: [
      {
        step: 'claimed',
        at: '2026-11-20T21:00:00.004Z',
        recordedAt: null,
        attempt: 1,
        epoch: 7,
        replica: 'mirante-1',
        code: null,
      },
    ],
  })

const recipient = z
  .object({
    phone: z.string().nullable().meta({ description: 'E.164' }),
    lid: z.string().nullable(),
    name: z.string().nullable(),
    deliveredAt: time.nullable(),
    readAt: time.nullable(),
    playedAt: time.nullable(),
  })
  .meta({
    id: 'TraceRecipient',
    examples: [
      {
        ...{ phone: '+5511987654321', lid: '152414302263064', name: 'Ana' },
        ...{ deliveredAt: '2026-11-20T21:00:01.000Z', readAt: '2026-11-20T21:03:00.000Z', playedAt: null },
      },
    ],
  })

const traceView = z
  .object({
    id: z.string().meta({ examples: ['msg_01J8Z3V9K7QW5XN2M4T6R8Y0BC'] }),
    whatsappId: z.string(),
    instanceId: z.string(),
    direction: z.enum(['inbound', 'outbound']),
    status: z.enum(messageStatuses),
    attempts: z.int(),
    steps: z.array(traceStep).meta({ description: 'In the order in which they became known here.' }),
    deliveries: z
      .array(deliveryWithAttempts)
      .meta({ description: 'Each delivery of an event of this message to a webhook endpoint.' }),
    recipients: z.array(recipient).meta({
      description:
        'Whom a message to a group went to, and what each did with it; the message is `delivered`, `read` or `played` when all have. Kept for 30 days, for groups of up to 1,024. Empty for any other message.',
    }),
  })
  .meta({ id: 'MessageTrace' })

export function traceRoutes({ reader }: { readonly reader: Reader }): (app: App) => void {
  return (app) => {
    app.get(
      '/api/messages/:id/trace',
      {
        config: { scope: 'read' },
        schema: {
          tags: ['Messages'],
          summary: 'Follow a message through every step, with times',
          description:
            'From the accept to the last receipt, with every try and what became of each webhook delivery. Events and deliveries are kept for 30 days; what the message itself says stays.',
          params: z.object({ id: idParam('msg') }),
          response: { 200: traceView },
        },
      },
      async ({ auth: { tenantId }, params: { id } }) => viewTrace(await traceMessage(reader, tenantId, id)),
    )
  }
}

function viewTrace({ message, steps, replicas, deliveries, recipients }: Trace): z.infer<typeof traceView> {
  return {
    id: publicId('msg', message.id),
    whatsappId: message.whatsappId,
    instanceId: publicId('ins', message.instanceId),
    direction: message.direction,
    status: message.status,
    attempts: message.attempts,
    steps: steps.map(({ step, at, recordedAt, attempt, epoch, code }) => ({
      step,
      at: at.toISOString(),
      recordedAt: recordedAt?.toISOString() ?? null,
      attempt: attempt ?? null,
      epoch: epoch ? Number(epoch) : null,
      replica: (epoch && replicas.get(epoch)) || null,
      code: code ?? null,
    })),
    deliveries: deliveries.map(({ delivery, attempts }) => viewDeliveryWithAttempts(delivery, attempts)),
    recipients: recipients.map(({ deliveredAt, readAt, playedAt, ...who }) => ({
      ...who,
      deliveredAt: deliveredAt?.toISOString() ?? null,
      readAt: readAt?.toISOString() ?? null,
      playedAt: playedAt?.toISOString() ?? null,
    })),
  }
}
