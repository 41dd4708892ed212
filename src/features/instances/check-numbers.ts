/** The holder's side of a number check: asks WhatsApp about many numbers in one question. */
import { z } from 'zod'
import { AppError } from '../../kernel/errors.js'
import type { SessionAttachment } from './session-attachment.js'

const question = z.object({ waIds: z.array(z.string().regex(/^\d{5,20}$/)).max(100) })

/** To be hung on the sessions of a gateway. */
export const numberChecks: SessionAttachment = {
  errands: {
    async check_numbers({ connection }, args) {
      const { waIds } = question.parse(args)
      try {
        return { checks: await connection.checkNumbers(waIds) }
      } catch (cause) {
        throw new AppError('whatsapp_unanswered', { cause })
      }
    },
  },
}
