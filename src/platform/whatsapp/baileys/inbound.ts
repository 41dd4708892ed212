/** Reads a decrypted stanza as our `InboundMessage`. Pure: the live path and the repair after a crash use the same words. */
import type { proto } from 'baileys'
import type { InboundContent } from '../content.js'
import { isSame, isUsername, mergeAddresses, parseJid, type WhatsAppAddress } from '../jid.js'
import type { InboundMessage, RawReading } from '../whatsapp.js'
import { type Decoded, decodeContent, decodeProtocol } from './decode-content.js'
import type { BaileysLibrary } from './load.js'
import type { Envelope } from './raw-entry.js'

export type MessageCodec = Pick<
  BaileysLibrary,
  'proto' | 'getContentType' | 'normalizeMessageContent' | 'unpadRandomMax16'
>

type Message = Omit<InboundMessage, 'encHashes'>

/** Never throws: what cannot be read is named. */
export function readPlaintext(codec: MessageCodec, envelope: Envelope, plaintext: Uint8Array): RawReading {
  const parties = readParties(envelope)
  if ('as' in parties) return { kind: 'other', as: parties.as }
  const decoded = decode(codec, plaintext)
  if (!decoded) return message(envelope, parties, unsupported('unreadable'))
  const outer = decoded.deviceSentMessage?.message ?? decoded
  const inner = codec.normalizeMessageContent(outer) ?? outer
  if (inner.protocolMessage) return readProtocol(codec, envelope, parties, inner.protocolMessage)
  if (envelope.attrs.category === 'peer') return { kind: 'other', as: 'peer' }
  const said = decodeContent(codec, outer, { ...parties, me: envelope.me })
  if (said) return message(envelope, parties, withKey(codec, said, keyOf(envelope)))
  return { kind: 'other', as: inner.senderKeyDistributionMessage ? 'sender-key-distribution' : 'empty' }
}

/** A message whose payload we do not have: it could not be decrypted, or WhatsApp gives it to the phone only. */
export function readWithoutPayload(envelope: Envelope, content: InboundContent): Message | undefined {
  const parties = readParties(envelope)
  return 'as' in parties ? undefined : message(envelope, parties, { content }).message
}

interface Parties {
  readonly chat: WhatsAppAddress
  /** Undefined when we wrote it on another device. */
  readonly sender: WhatsAppAddress | undefined
}

/** Who writes to whom; `as` names a sort of chat that carries no messages for us. */
function readParties({ attrs, me }: Envelope): Parties | { readonly as: string } {
  const from = parseJid(attrs.from)
  if (!from) return { as: serverOf(attrs.from) }
  if (from.groupJid) {
    const author = withOther(attrs.participant, attrs.participant_pn, attrs.participant_lid)
    if (!author) return { as: 'group-without-author' }
    return { chat: from, sender: isSame(author, me) ? undefined : named(author, attrs.participant_username) }
  }
  if (isSame(from, me)) {
    const chat = withOther(
      attrs.recipient,
      attrs.recipient_pn ?? attrs.peer_recipient_pn,
      attrs.recipient_lid ?? attrs.peer_recipient_lid,
    )
    if (!chat && attrs.recipient) return { as: serverOf(attrs.recipient) }
    if (!chat) return { chat: mergeAddresses(from, me), sender: undefined }
    return { chat: named(chat, attrs.recipient_username ?? attrs.peer_recipient_username), sender: undefined }
  }
  // Baileys reads no username of who writes to us; the server's naming of the others leaves only this one.
  const sender = named(withOther(attrs.from, attrs.sender_pn, attrs.sender_lid) ?? from, attrs.sender_username)
  return { chat: sender, sender }
}

/** A person under the address of the stanza, completed by the other one that came along. */
function withOther(jid: string | undefined, phone?: string, lid?: string): WhatsAppAddress | undefined {
  const address = parseJid(jid)
  if (!address) return undefined
  if (address.groupJid) return address
  return mergeAddresses(mergeAddresses(address, parseJid(phone)), parseJid(lid))
}

/** With the username that the stanza gives, where it is one. */
function named(address: WhatsAppAddress, username: string | undefined): WhatsAppAddress {
  return username && isUsername(username) ? { ...address, username } : address
}

/** `123@newsletter` → `newsletter`. */
function serverOf(jid: string | undefined): string {
  return (jid ?? '').split('@')[1] || 'nobody'
}

function message({ attrs }: Envelope, { chat, sender }: Parties, said: Decoded): RawMessage {
  const pushName = sender ? attrs.notify : undefined
  return {
    kind: 'message',
    message: {
      whatsappId: attrs.id ?? '',
      chat,
      sender,
      ...(pushName ? { pushName } : {}),
      at: fromSeconds(attrs.t),
      ...said,
      offline: attrs.offline !== undefined,
    },
  }
}
type RawMessage = Extract<RawReading, { kind: 'message' }>

function decode({ proto: { Message }, unpadRandomMax16 }: MessageCodec, plaintext: Uint8Array) {
  try {
    return Message.decode(unpadRandomMax16(plaintext))
  } catch {
    return undefined
  }
}

/** Revoking and editing are things that people do and see; the rest of the protocol is between devices. */
function readProtocol(
  codec: MessageCodec,
  envelope: Envelope,
  parties: Parties,
  protocol: proto.Message.IProtocolMessage,
): RawReading {
  const { Type } = codec.proto.Message.ProtocolMessage
  const type = protocol.type ?? Type.REVOKE
  const change = decodeProtocol(codec, protocol, { ...parties, me: envelope.me })
  if (change) return message(envelope, parties, change)
  // Only our own phone may answer for others; Baileys drops it from anybody else as well.
  const resent = parties.sender ? undefined : readResent(codec, envelope, protocol)
  return resent ?? { kind: 'other', as: (Type[type] ?? 'protocol').toLowerCase().replaceAll('_', '-') }
}

/** The phone hands over a message that came to us without its payload. */
function readResent(
  codec: MessageCodec,
  { me }: Envelope,
  { peerDataOperationRequestResponseMessage: response }: proto.Message.IProtocolMessage,
): RawReading | undefined {
  const bytes = response?.peerDataOperationResult?.find(
    ({ placeholderMessageResendResponse: found }) => found?.webMessageInfoBytes,
  )?.placeholderMessageResendResponse?.webMessageInfoBytes
  if (!bytes) return undefined
  const { key, message: content, messageTimestamp, pushName } = codec.proto.WebMessageInfo.decode(bytes)
  const attrs: Record<string, string> = { id: key?.id ?? '', t: String(messageTimestamp ?? 0) }
  if (pushName) attrs.notify = pushName
  const chat = parseJid(key?.remoteJid)
  const author = parseJid(key?.participant) ?? chat
  if (!chat || !author || !content) return undefined
  const sender = key?.fromMe ? undefined : author
  const said = decodeContent(codec, content, { chat, sender, me }) ?? unsupported('empty')
  return message({ attrs, parts: [], me }, { chat, sender }, withKey(codec, said, key ?? {}))
}

/** The phone that is asked for a file again wants the message's key as it was on the wire. */
function withKey({ proto: { Message, WebMessageInfo } }: MessageCodec, said: Decoded, key: proto.IMessageKey): Decoded {
  if (!said.mediaSource) return said
  const info = WebMessageInfo.fromObject({ key, message: Message.decode(said.mediaSource) })
  return { ...said, mediaSource: Buffer.from(WebMessageInfo.encode(info).finish()) }
}

function keyOf({ attrs, me }: Envelope): proto.IMessageKey {
  const { id = '', from = '', participant, recipient } = attrs
  const author = parseJid(participant ?? from)
  const fromMe = author !== undefined && isSame(author, me)
  return {
    id,
    remoteJid: fromMe && !participant ? (recipient ?? from) : from,
    fromMe,
    ...(participant ? { participant } : {}),
  }
}

const unsupported = (kind: string): Decoded => ({ content: { type: 'unsupported', unsupported: { kind } } })

export function fromSeconds(seconds: string | undefined): Date {
  return new Date(Number(seconds ?? 0) * 1000)
}
