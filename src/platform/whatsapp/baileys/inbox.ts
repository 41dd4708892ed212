/**
 * Follows each stanza with a message from its arrival to what becomes of it. The payloads of a stanza are decrypted one by
 * one, by Baileys, somewhere below; when the last is done, what they say together is told, in order, as soon as it is durable.
 *
 * What cannot be decrypted is told only when it does not heal: Baileys asks the sender to encrypt it again, and a later
 * success is told under the same id, even after the failure was.
 */
import type { BinaryNode } from 'baileys'
import type { Clock } from '../../../kernel/clock.js'
import type { InboundContent } from '../content.js'
import { isSame, mergeAddresses, parseJid, type WhatsAppAddress } from '../jid.js'
import type { ConnectionEvent, InboundMessage, RawReading } from '../whatsapp.js'
import { type MessageCodec, readPlaintext, readWithoutPayload } from './inbound.js'
import type { Envelope } from './raw-entry.js'
import type { Decryption, DecryptionObserver } from './signal-repository.js'

export interface InboxOptions {
  readonly codec: MessageCodec
  readonly me: () => WhatsAppAddress
  /** The other address of a person, when known. */
  readonly lidOf: (waId: string) => string | undefined
  readonly phoneOf: (lid: string) => string | undefined
  /** Tells it in order when everything journaled so far is durable. */
  readonly tellWhenDurable: (event: ConnectionEvent) => void
  readonly tellNow: (event: ConnectionEvent) => void
  /** Something that had waited at the server was worked off. */
  readonly onProgress?: () => void
  readonly clock: Clock
  /** How long the sender has for encrypting a message again. */
  readonly healMs: number
}

export interface Inbox extends DecryptionObserver {
  /** To be called with each `message` stanza before Baileys handles it. */
  arrived(stanza: BinaryNode): void
  /** The connection ends: what has not healed by now is told. */
  close(): void
  /** Nothing that waited at the server is under way. */
  readonly isIdle: boolean
  /** Messages that could not be read so far. */
  readonly unhealedCount: number
}

interface Arrival {
  readonly envelope: Envelope
  readonly payloadCount: number
  readonly decryptions: Decryption[]
  /** Baileys works it off behind those before it. */
  readonly isQueued: boolean
  failureCount: number
}

interface Unhealed {
  readonly message: InboundMessage
  readonly healed: AbortController
}

const DECRYPTABLE: ReadonlySet<string> = new Set(['pkmsg', 'msg', 'skmsg'])
/** Baileys refuses a stanza that begins with one: the answers of WhatsApp's own assistants. */
const ASSISTANT = 'msmsg'
/** Sorts of `unavailable` that stay on the phone, and our names for them: nobody is asked for them. */
const PHONE_ONLY: ReadonlyMap<string, string> = new Map([
  ['view_once', 'view_once'],
  ['view_once_unavailable_fanout', 'view_once'],
  ['bot_unavailable_fanout', 'bot'],
  ['hosted_unavailable_fanout', 'hosted'],
])

export function createInbox(options: InboxOptions): Inbox {
  const { codec, me, lidOf, phoneOf, tellWhenDurable, tellNow, onProgress, clock, healMs } = options
  /** By the very object that Baileys will hand to the repository; forgotten with it. */
  const arrivals = new WeakMap<Uint8Array, Arrival>()
  const unhealed = new Set<Unhealed>()
  let queuedCount = 0

  function arrived(stanza: BinaryNode): void {
    const envelope = envelopeOf(stanza)
    const encs = Array.isArray(stanza.content) ? stanza.content.filter(({ tag }) => tag === 'enc') : []
    const payloads = encs.flatMap(({ attrs, content }) =>
      DECRYPTABLE.has(attrs.type ?? '') && content instanceof Uint8Array ? [content] : [],
    )
    if (payloads.length === 0 || encs[0]?.attrs.type === ASSISTANT) {
      withoutPayload(envelope)
      return
    }
    const isQueued = keepBehindQueue(stanza)
    const arrival: Arrival = { envelope, payloadCount: payloads.length, decryptions: [], isQueued, failureCount: 0 }
    for (const payload of payloads) arrivals.set(payload, arrival)
  }

  /**
   * Baileys works off what waited at the server one by one, and handles what is new at once: a new message would overtake
   * those that its sender wrote before it. So while any of them is under way, a new one is given to Baileys as one of them.
   */
  function keepBehindQueue({ attrs }: BinaryNode): boolean {
    if (queuedCount > 0) attrs.offline ??= String(queuedCount)
    if (!attrs.offline) return false
    queuedCount += 1
    return true
  }

  function envelopeOf({ attrs, content }: BinaryNode): Envelope {
    const parts = Array.isArray(content) ? content.map((child) => ({ tag: child.tag, attrs: child.attrs })) : []
    return { attrs: { ...counterparts(attrs), ...attrs }, parts, me: me() }
  }

  /** Addresses that the stanza leaves out and we know, under the names that stanzas give them. */
  function counterparts(attrs: BinaryNode['attrs']): Record<string, string> {
    const known: Record<string, string> = {}
    for (const [attribute, phoneName, lidName] of COUNTERPART_NAMES) {
      const { waId, lid } = parseJid(attrs[attribute]) ?? {}
      const otherLid = waId && lidOf(waId)
      const otherPhone = lid && phoneOf(lid)
      if (otherLid) known[lidName] = `${otherLid}@lid`
      if (otherPhone) known[phoneName] = `${otherPhone}@s.whatsapp.net`
    }
    return known
  }

  /** Baileys asks the phone for what came without a payload. */
  function withoutPayload(envelope: Envelope): void {
    const part = envelope.parts.find(({ tag }) => tag === 'enc' || tag === 'unavailable')
    if (!part) return
    const sort = part.attrs.type ?? ''
    const kind = part.tag === 'enc' ? sort : PHONE_ONLY.get(sort)
    if (kind !== undefined) tellUnreadable(envelope, { type: 'unsupported', unsupported: { kind } })
    else mayHeal(envelope, 'unavailable')
  }

  function tellUnreadable(envelope: Envelope, content: InboundContent): void {
    const message = readWithoutPayload(envelope, content)
    if (message) tellWhenDurable({ type: 'message', message: { ...message, encHashes: [] } })
  }

  function settle(arrival: Arrival): void {
    const { envelope, payloadCount, decryptions, failureCount } = arrival
    if (decryptions.length + failureCount < payloadCount) return
    if (arrival.isQueued) queuedCount -= 1
    // A repeat within this connection: everything about it has been told.
    if (failureCount === 0 && decryptions.every(({ repeated }) => repeated)) return
    const encHashes = decryptions.map(({ encHash }) => encHash)
    const readings = decryptions.map(({ plaintext }) => readPlaintext(codec, envelope, plaintext))
    const read = readings.find((reading) => reading.kind === 'message')
    if (read) {
      tellMessage(read.message, encHashes)
      return
    }
    for (const [index, reading] of readings.entries()) tellSettled(reading, encHashes[index])
    if (failureCount > 0) mayHeal(envelope, 'decryption_failed')
  }

  function tellMessage(read: Read, encHashes: readonly Buffer[]): void {
    const waited = [...unhealed].find(({ message }) => isOneMessage(message, read))
    if (waited) {
      unhealed.delete(waited)
      waited.healed.abort()
    }
    tellWhenDurable({ type: 'message', message: { ...completed(read, waited?.message), encHashes } })
  }

  function tellSettled(reading: RawReading, encHash: Buffer | undefined): void {
    if (reading.kind === 'other' && encHash) tellWhenDurable({ type: 'raw-settled', encHash, as: reading.as })
  }

  function mayHeal(envelope: Envelope, reason: string): void {
    const read = readWithoutPayload(envelope, { type: 'undecryptable', undecryptable: { reason } })
    if (!read || [...unhealed].some(({ message }) => isOneMessage(message, read))) return
    const waiting: Unhealed = { message: { ...read, encHashes: [] }, healed: new AbortController() }
    unhealed.add(waiting)
    clock.sleep(healMs, waiting.healed.signal).then(
      () => {
        if (unhealed.delete(waiting)) tellNow({ type: 'message', message: waiting.message })
      },
      () => undefined,
    )
  }

  return {
    arrived,
    get isIdle() {
      return queuedCount === 0
    },
    get unhealedCount() {
      return unhealed.size
    },
    envelopeOf: (ciphertext) => arrivals.get(ciphertext)?.envelope,
    decrypted(decryption) {
      const arrival = arrivals.get(decryption.ciphertext)
      if (!arrival) return
      arrival.decryptions.push(decryption)
      settle(arrival)
      if (arrival.isQueued) onProgress?.()
    },
    failed({ ciphertext }) {
      const arrival = arrivals.get(ciphertext)
      if (!arrival) return
      arrival.failureCount += 1
      settle(arrival)
      if (arrival.isQueued) onProgress?.()
    },
    close() {
      for (const waiting of unhealed) {
        unhealed.delete(waiting)
        waiting.healed.abort()
        tellNow({ type: 'message', message: waiting.message })
      }
    },
  }
}

/** Which attribute names a person, and where stanzas put that person's phone and LID. */
const COUNTERPART_NAMES = [
  ['from', 'sender_pn', 'sender_lid'],
  ['participant', 'participant_pn', 'participant_lid'],
  ['recipient', 'recipient_pn', 'recipient_lid'],
] as const

/** Senders choose ids: only in the same chat and from the same person is it the same message. */
function isOneMessage(one: Parties, other: Parties): boolean {
  if (one.whatsappId !== other.whatsappId || !isSameChat(one.chat, other.chat)) return false
  return one.sender && other.sender ? isSame(one.sender, other.sender) : one.sender === other.sender
}
type Parties = Pick<InboundMessage, 'whatsappId' | 'chat' | 'sender'>

const isSameChat = (one: WhatsAppAddress, other: WhatsAppAddress): boolean =>
  one.groupJid === undefined ? isSame(one, other) : one.groupJid === other.groupJid

/** What the phone hands over later lacks names that the first stanza had. */
function completed(read: Read, first: InboundMessage | undefined): Read {
  if (!first) return read
  const pushName = read.pushName ?? first.pushName
  return {
    ...read,
    chat: mergeAddresses(read.chat, first.chat),
    sender: read.sender && mergeAddresses(read.sender, first.sender),
    ...(pushName ? { pushName } : {}),
  }
}
type Read = Omit<InboundMessage, 'encHashes'>
