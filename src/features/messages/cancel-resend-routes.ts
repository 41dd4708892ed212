/** The HTTP routes that take a message back and send it again. */
import { z } from 'zod'
import { type MessageId, publicId } from '../../kernel/ids.js'
import { type App, idParam } from '../../platform/http/route.js'
import type { CancelResend, ChangedMessage } from './cancel-resend.js'

export interface CancelResendRoutesDeps {
  readonly change: CancelResend
}

const tags = ['Messages']
const params = z.object({ id: idParam('msg') })

const answer = <Status extends string>(status: Status) =>
  z.object({
    id: z.string().meta({ examples: ['msg_01J8Z3V9K7QW5XN2M4T6R8Y0BC'] }),
    whatsappId: z.string().meta({ examples: ['3EB0C7A1D2E3F405162738'] }),
    status: z.literal(status),
    links: z.object({ self: z.string(), trace: z.string() }),
  })

export function cancelResendRoutes({ change }: CancelResendRoutesDeps): (app: App) => void {
  return (app) => {
    app.post(
      '/api/messages/:id/cancel',
      {
        config: { scope: 'send' },
        schema: {
          tags,
          summary: 'Take a message back that is not on its way yet',
          description:
            'Only while it is `queued` and no try may have brought it to WhatsApp. A message that this route answered with 200 is never sent; messages behind it in the chat go on. Once it is on its way the answer is 409 `message_on_its_way` or `message_already_sent`. Asking again changes nothing.',
          params,
          response: { 200: answer('cancelled').meta({ id: 'CancelledMessage' }) },
        },
      },
      async ({ auth: { tenantId }, params: { id } }) => view(await change.cancel(tenantId, id), id, 'cancelled'),
    )

    app.post(
      '/api/messages/:id/resend',
      {
        config: { scope: 'send' },
        schema: {
          tags,
          summary: 'Send a message again that has failed or whose fate is unknown',
          description:
            'It takes a new place at the end of its chat and goes under the same `whatsappId`, so a phone that has it already drops the copy. Only for messages that are `failed` or `unknown`; else 409. Asking again before the next try changes nothing.',
          params,
          response: { 202: answer('queued').meta({ id: 'ResentMessage' }) },
        },
      },
      async ({ auth: { tenantId }, params: { id } }, reply) =>
        reply.code(202).send(view(await change.resend(tenantId, id), id, 'queued')),
    )
  }
}

function view<Status extends string>({ whatsappId }: ChangedMessage, messageId: MessageId, status: Status) {
  const id = publicId('msg', messageId)
  const self = `/api/messages/${id}`
  return { id, whatsappId, status, links: { self, trace: `${self}/trace` } }
}
