/** What a message of WhatsApp says, in our words. Pure, never throws: what we do not know is named. */
import type { proto } from 'baileys'
import type { InboundContent, InboundMedia } from '../content.js'
import { isSame, parseJid, toJid, type WhatsAppAddress } from '../jid.js'
import { readVcard } from '../vcard.js'
import type { MessageReference, SealedVote } from '../whatsapp.js'
import type { BaileysLibrary } from './load.js'
import { type MediaMessage, mediaOf } from './media-message.js'

export type ContentCodec = Pick<BaileysLibrary, 'proto' | 'getContentType' | 'normalizeMessageContent'>

export interface Decoded {
  readonly content: InboundContent
  readonly reference?: MessageReference
  readonly secret?: Buffer
  readonly sealedVote?: SealedVote
  readonly mediaSource?: Buffer
}

export interface Parties {
  readonly chat: WhatsAppAddress
  /** Undefined when we wrote it on another device. */
  readonly sender: WhatsAppAddress | undefined
  readonly me: WhatsAppAddress
}

/** Undefined for a message that says nothing to people. `outer` is the message before its wrappings were taken off. */
export function decodeContent(codec: ContentCodec, outer: proto.IMessage, parties: Parties): Decoded | undefined {
  const inner = codec.normalizeMessageContent(outer) ?? outer
  const content = readContent(codec, inner, isViewOnce(outer))
  if (!content) return undefined
  const about = aboutKey(inner)
  const reference = about ? keyReference(about, parties) : quoted(inner, parties)
  const secret = isPoll(inner) ? inner.messageContextInfo?.messageSecret : undefined
  const vote = inner.pollUpdateMessage?.vote
  return {
    content,
    ...(reference ? { reference } : {}),
    ...(secret?.length ? { secret: Buffer.from(secret) } : {}),
    ...(vote?.encPayload && vote.encIv
      ? { sealedVote: { payload: Buffer.from(vote.encPayload), iv: Buffer.from(vote.encIv) } }
      : {}),
    ...mediaSource(codec, inner),
  }
}

/** Edits and takings-back, which travel among the protocol's own messages. */
export function decodeProtocol(
  codec: ContentCodec,
  protocol: proto.Message.IProtocolMessage,
  parties: Parties,
): Decoded | undefined {
  const { Type } = codec.proto.Message.ProtocolMessage
  const type = protocol.type ?? Type.REVOKE
  if (type !== Type.REVOKE && type !== Type.MESSAGE_EDIT) return undefined
  const reference = protocol.key ? keyReference(protocol.key, parties) : undefined
  if (!reference)
    return { content: { type: 'unsupported', unsupported: { kind: type === Type.REVOKE ? 'revoke' : 'edit' } } }
  if (type === Type.REVOKE) return { content: { type: 'delete', delete: {} }, reference }
  const edited = codec.normalizeMessageContent(protocol.editedMessage) ?? {}
  const body =
    edited.conversation ??
    edited.extendedTextMessage?.text ??
    edited.imageMessage?.caption ??
    edited.videoMessage?.caption ??
    edited.documentMessage?.caption ??
    ''
  return { content: { type: 'edit', edit: { text: { body } } }, reference }
}

function readContent(codec: ContentCodec, inner: proto.IMessage, viewOnce: boolean): InboundContent | undefined {
  const { extendedTextMessage: extended, reactionMessage: reaction } = inner
  const body = inner.conversation || extended?.text
  if (body) return { type: 'text', text: { body, ...mentionsOf(extended?.contextInfo) } }
  const media = readMedia(inner, viewOnce)
  if (media) return media
  const location = inner.locationMessage ?? inner.liveLocationMessage
  if (location) return readLocation(location)
  const cards = inner.contactMessage ? [inner.contactMessage] : inner.contactsArrayMessage?.contacts
  if (cards)
    return { type: 'contacts', contacts: cards.map((card) => readVcard(card.vcard ?? '', card.displayName ?? '')) }
  const poll = pollOf(inner)
  if (poll) return readPoll(poll)
  if (inner.pollUpdateMessage) return { type: 'vote', vote: { options: [] } }
  if (reaction) return { type: 'reaction', reaction: { emoji: reaction.text ?? '' } }
  const kind = codec.getContentType(inner)
  return kind ? { type: 'unsupported', unsupported: { kind: kind.replace(/Message(V\d+)?$/, '') } } : undefined
}

// Media

function readMedia(inner: proto.IMessage, viewOnce: boolean): InboundContent | undefined {
  const media = mediaOf(inner)
  if (!media) return undefined
  const said = describeMedia(media.found, viewOnce)
  return { type: media.type, [media.type]: said } as InboundContent
}

function describeMedia(media: MediaMessage, viewOnce: boolean): InboundMedia {
  const size = numberOf(media.fileLength)
  const hash = media.fileSha256
  return {
    mimeType: media.mimetype || 'application/octet-stream',
    ...(media.caption ? { caption: media.caption } : {}),
    ...(media.fileName ? { filename: media.fileName } : {}),
    ...(media.ptt ? { voice: true } : {}),
    ...(media.gifPlayback ? { gif: true } : {}),
    ...(media.isAnimated ? { animated: true } : {}),
    ...(viewOnce || media.viewOnce ? { viewOnce: true } : {}),
    ...(size ? { size } : {}),
    ...(hash?.length ? { sha256: Buffer.from(hash).toString('hex') } : {}),
    ...(media.seconds ? { seconds: media.seconds } : {}),
    ...(media.width && media.height ? { width: media.width, height: media.height } : {}),
    ...mentionsOf(media.contextInfo),
  }
}

/** The media's own part of the message: address and keys. */
function mediaSource({ proto: { Message } }: ContentCodec, inner: proto.IMessage): { mediaSource?: Buffer } {
  const media = mediaOf(inner)
  if (!media) return {}
  return { mediaSource: Buffer.from(Message.encode({ [media.field]: media.found }).finish()) }
}

function isViewOnce({ viewOnceMessage, viewOnceMessageV2, viewOnceMessageV2Extension }: proto.IMessage): boolean {
  return Boolean(viewOnceMessage ?? viewOnceMessageV2 ?? viewOnceMessageV2Extension)
}

/** Lengths are 64-bit: the library's own kind of number. */
function numberOf(value: number | { toNumber(): number } | null | undefined): number {
  return typeof value === 'object' && value !== null ? value.toNumber() : (value ?? 0)
}

// The rest

function readLocation(location: proto.Message.ILocationMessage): InboundContent {
  const { degreesLatitude, degreesLongitude, name, address } = location
  return {
    type: 'location',
    location: {
      latitude: degreesLatitude ?? 0,
      longitude: degreesLongitude ?? 0,
      ...(name ? { name } : {}),
      ...(address ? { address } : {}),
    },
  }
}

const pollOf = (inner: proto.IMessage) =>
  inner.pollCreationMessage ?? inner.pollCreationMessageV2 ?? inner.pollCreationMessageV3
const isPoll = (inner: proto.IMessage): boolean => Boolean(pollOf(inner))

function readPoll({ name, options, selectableOptionsCount }: proto.Message.IPollCreationMessage): InboundContent {
  return {
    type: 'poll',
    poll: {
      question: name ?? '',
      options: (options ?? []).map(({ optionName }) => optionName ?? ''),
      maxSelections: selectableOptionsCount ?? 0,
    },
  }
}

function mentionsOf(info: proto.IContextInfo | null | undefined): { mentions?: string[] } {
  const mentions = (info?.mentionedJid ?? []).flatMap((jid) => {
    const address = parseJid(jid)
    return address ? [toJid(address)] : []
  })
  return mentions.length > 0 ? { mentions } : {}
}

// What it refers to

const aboutKey = (inner: proto.IMessage): proto.IMessageKey | null | undefined =>
  inner.reactionMessage?.key ?? inner.pollUpdateMessage?.pollCreationMessageKey

/** A key as its sender sees it: `fromMe` means the sender. */
function keyReference(key: proto.IMessageKey, { chat, sender, me }: Parties): MessageReference | undefined {
  if (!key.id) return undefined
  const participant = parseJid(key.participant)
  const other = sender ? me : chat
  const author = key.fromMe ? sender : (participant ?? (chat.groupJid ? undefined : other))
  return { whatsappId: key.id, author: author && !isSame(author, me) ? author : undefined }
}

function quoted(inner: proto.IMessage, { me }: Parties): MessageReference | undefined {
  const part = Object.values(inner).find(
    (value): value is { contextInfo: proto.IContextInfo } =>
      typeof value === 'object' && value !== null && Boolean((value as { contextInfo?: unknown }).contextInfo),
  )
  const { stanzaId, participant } = part?.contextInfo ?? {}
  if (!stanzaId) return undefined
  const author = parseJid(participant)
  return { whatsappId: stanzaId, author: author && !isSame(author, me) ? author : undefined }
}
