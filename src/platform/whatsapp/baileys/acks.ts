/**
 * Who waits for the server's acknowledgement of which message. Baileys has no event for it (fault S6), so it is read from the
 * raw stanza. An answer that comes after its deadline is kept apart: it still says what became of the message.
 */

import type { WhatsAppAddress } from '../jid.js'
import type { OutboundMessage, ServerAck } from '../whatsapp.js'
import { SendError } from '../whatsapp.js'

export interface AckBook {
  isWaiting(whatsappId: string): boolean
  /** Rejects when the deadline passes, the signal aborts, or the server refuses. One wait for an id at a time. */
  wait(message: OutboundMessage, options: { signal: AbortSignal; timeoutMs: number }): Promise<ServerAck>
  /** Ends a wait without an answer from the server. */
  give(whatsappId: string, error: SendError): void
  /** The server has it, or refuses it (`errorCode`). Undefined when nobody waits or waited for this id. */
  settle(whatsappId: string, answer: { at: Date; errorCode?: string }): LateAnswer | 'in-time' | undefined
  /** Ends all waits: the connection is over. */
  giveAll(errorOf: (whatsappId: string) => SendError): void
}

export interface LateAnswer {
  readonly chat: WhatsAppAddress
}

interface Waiting {
  readonly resolve: (ack: ServerAck) => void
  readonly reject: (error: SendError) => void
}

const MAX_LATE = 2_000

export function createAckBook(): AckBook {
  const waiting = new Map<string, Waiting>()
  const late = new Map<string, WhatsAppAddress>()

  function noteLate({ whatsappId, to }: OutboundMessage): void {
    late.set(whatsappId, to)
    if (late.size <= MAX_LATE) return
    for (const oldest of late.keys()) return void late.delete(oldest)
  }

  return {
    isWaiting: (whatsappId) => waiting.has(whatsappId),
    wait(message, { signal, timeoutMs }) {
      const { whatsappId } = message
      late.delete(whatsappId)
      return new Promise((resolve, reject) => {
        const give = (code: string): void => {
          noteLate(message)
          settled(() => reject(new SendError(code, { sent: 'maybe' })))
        }
        const onAbort = (): void => give('aborted')
        const timer = setTimeout(give, timeoutMs, 'ack_timeout')
        const settled = (answer: () => void): void => {
          clearTimeout(timer)
          signal.removeEventListener('abort', onAbort)
          waiting.delete(whatsappId)
          answer()
        }
        signal.addEventListener('abort', onAbort, { once: true })
        waiting.set(whatsappId, {
          resolve: (ack) => settled(() => resolve(ack)),
          reject: (error) => settled(() => reject(error)),
        })
      })
    },
    give: (whatsappId, error) => waiting.get(whatsappId)?.reject(error),
    settle(whatsappId, { at, errorCode }) {
      const inTime = waiting.get(whatsappId)
      if (inTime) {
        if (errorCode === undefined) inTime.resolve({ at })
        else inTime.reject(refusal(errorCode))
        return 'in-time'
      }
      const chat = late.get(whatsappId)
      if (!chat) return undefined
      late.delete(whatsappId)
      return { chat }
    },
    giveAll(errorOf) {
      for (const [whatsappId, { reject }] of [...waiting]) reject(errorOf(whatsappId))
    },
  }
}

/** Refusals that pass: the server is busy or broken. Every other one repeats itself, and asking again may look like abuse. */
const PASSING_REFUSALS: ReadonlySet<string> = new Set(['408', '425', '429'])

/**
 * A refused message surely did not reach anybody. Final are all 4xx but the passing ones, among them 463 (the account may not
 * write first to this person; each try makes it worse) and 479 (the stanza is not acceptable); 5xx may be tried again.
 */
function refusal(errorCode: string): SendError {
  const final = errorCode.startsWith('4') && !PASSING_REFUSALS.has(errorCode)
  return new SendError(`refused_${errorCode}`, { sent: 'no', final })
}
