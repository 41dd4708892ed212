/**
 * Calls as they are offered to us. Read from the raw stanza: Baileys tells of each step of a call, under addresses of the wire,
 * and invents messages for some.
 */
import type { BinaryNode, WASocket } from 'baileys'
import type { Clock } from '../../../kernel/clock.js'
import { mergeAddresses, parseJid, type WhatsAppAddress } from '../jid.js'
import type { ConnectionEvent } from '../whatsapp.js'
import { fromSeconds } from './inbound.js'

export interface Calls {
  /** A `call` stanza. */
  arrived(stanza: BinaryNode): void
  /** Rejects when this connection was never offered the call, or WhatsApp does not answer. */
  reject(callId: string): Promise<void>
}

export interface CallsOptions {
  readonly library: Pick<WASocket, 'rejectCall'>
  readonly tell: (event: ConnectionEvent) => void
  readonly phoneOf: (lid: string) => string | undefined
  readonly clock: Clock
}

const MAX_REMEMBERED = 200

export function createCalls({ library, tell, phoneOf, clock }: CallsOptions): Calls {
  /** Whom WhatsApp wants to be told of a rejection, by call. */
  const creators = new Map<string, string>()

  return {
    arrived({ attrs, content }) {
      const offer = Array.isArray(content)
        ? content.find(({ tag }) => tag === 'offer' || tag === 'offer_notice')
        : undefined
      const callId = offer?.attrs['call-id']
      const creator = offer?.attrs.from ?? offer?.attrs['call-creator'] ?? attrs.from
      const from = callerOf(attrs.from, creator, offer?.attrs.caller_pn)
      // A call is offered once to each of our devices, and again after a reconnect in which its end was not heard.
      if (!offer || !callId || !creator || !from || creators.has(callId)) return
      remember(callId, creator)
      const { groupJid } = parseJid(offer.attrs['group-jid']) ?? {}
      tell({
        type: 'call',
        call: {
          callId,
          from,
          video: Array.isArray(offer.content) && offer.content.some(({ tag }) => tag === 'video'),
          ...(groupJid ? { groupJid } : {}),
          at: attrs.t ? fromSeconds(attrs.t) : new Date(clock.now()),
          offline: attrs.offline !== undefined,
        },
      })
    },
    async reject(callId) {
      const creator = creators.get(callId)
      if (!creator) throw new Error('this call is not known here')
      await library.rejectCall(callId, creator)
    },
  }

  function callerOf(...jids: readonly (string | undefined)[]): WhatsAppAddress | undefined {
    const people = jids.map(parseJid).filter((address) => address?.waId ?? address?.lid)
    const merged = people.reduce<WhatsAppAddress>((all, one) => mergeAddresses(all, one), {})
    const { waId = phoneOf(merged.lid ?? ''), lid } = merged
    return waId || lid ? { ...(waId ? { waId } : {}), ...(lid ? { lid } : {}) } : undefined
  }

  function remember(callId: string, creator: string): void {
    creators.set(callId, creator)
    if (creators.size <= MAX_REMEMBERED) return
    for (const oldest of creators.keys()) return void creators.delete(oldest)
  }
}
