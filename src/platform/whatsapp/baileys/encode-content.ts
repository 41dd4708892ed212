/** Our contents as WhatsApp writes them. Pure: a file has been uploaded before. */
import type { BinaryNode, proto } from 'baileys'
import { assertNever } from '../../../kernel/assert-never.js'
import type { InboundContent, OutboundContent } from '../content.js'
import { toJid, type WhatsAppAddress } from '../jid.js'
import { optionHash, sealVote } from '../poll-vote.js'
import { writeVcard } from '../vcard.js'
import { type LinkPreview, type MessageReference, SendError, type SentMessage } from '../whatsapp.js'
import type { BaileysLibrary } from './load.js'
import { type MediaMessage, mediaOf } from './media-message.js'

export interface Encoding {
  readonly message: proto.IMessage
  /** Of the stanza. */
  readonly attributes: Readonly<Record<string, string>>
  readonly nodes: BinaryNode[]
}

export interface EncodeContext {
  readonly codec: Pick<BaileysLibrary, 'proto'>
  readonly me: WhatsAppAddress
  readonly now: number
}

type ContentOf<Type extends OutboundContent['type']> = Extract<OutboundContent, { type: Type }>

/** What a person sees of an edit, and of a message taken back by its author or by an admin of the group. */
const EDITED = { edit: '1' }
const DELETED_BY_AUTHOR = { edit: '7' }
const DELETED_BY_ADMIN = { edit: '8' }
const POLL_NODE: BinaryNode = { tag: 'meta', attrs: { polltype: 'creation' } }

/** Throws a final SendError for what cannot be written. */
export function encodeContent(sent: SentMessage, context: EncodeContext): Encoding {
  const { content, reference } = sent
  switch (content.type) {
    case 'text':
      return plain(encodeText(content, contextInfo(sent, context, content.text.mentions), sent.preview))
    case 'location':
      return plain({ locationMessage: { ...encodeLocation(content), ...quoting(sent, context) } })
    case 'contacts':
      return plain(encodeContacts(content, quoting(sent, context)))
    case 'poll':
      return { message: encodePoll(content, sent, context), attributes: {}, nodes: [POLL_NODE] }
    case 'vote':
      return plain(encodeVote(content, sent, context))
    case 'reaction':
      return plain({
        reactionMessage: { key: keyOf(sent, context), text: content.reaction.emoji, senderTimestampMs: context.now },
      })
    case 'edit':
      return { message: encodeEdit(content, sent, context), attributes: EDITED, nodes: [] }
    case 'delete': {
      const { REVOKE } = context.codec.proto.Message.ProtocolMessage.Type
      const attributes = sent.to.groupJid && reference?.author ? DELETED_BY_ADMIN : DELETED_BY_AUTHOR
      return { message: { protocolMessage: { key: keyOf(sent, context), type: REVOKE } }, attributes, nodes: [] }
    }
    case 'image':
      return plain(encodeMedia(sent, context, { ...said(content.image) }, content.image.mentions))
    case 'video':
      return plain(
        encodeMedia(
          sent,
          context,
          { ...said(content.video), ...(content.video.gif ? { gifPlayback: true } : {}) },
          content.video.mentions,
        ),
      )
    case 'audio':
      return plain(
        encodeMedia(sent, context, { ...said(content.audio), ...(content.audio.voice ? { ptt: true } : {}) }),
      )
    case 'document': {
      const { filename, mentions } = content.document
      const named = filename ? { fileName: filename, title: filename } : {}
      return plain(encodeMedia(sent, context, { ...said(content.document), ...named }, mentions))
    }
    case 'sticker':
      return plain(encodeMedia(sent, context, {}))
    default:
      return assertNever(content)
  }
}

/** The file as it was uploaded, with what this message says of it. */
function encodeMedia(
  sent: SentMessage,
  context: EncodeContext,
  words: Partial<MediaMessage>,
  mentions?: readonly string[],
): proto.IMessage {
  const uploaded = sent.media && mediaOf(context.codec.proto.Message.decode(sent.media))
  if (!uploaded) throw new SendError('media_not_uploaded', { sent: 'no' })
  const message = { [uploaded.field]: { ...uploaded.found, ...words, ...quoting(sent, context, mentions) } }
  if (!words.viewOnce) return message
  return uploaded.type === 'audio' ? { viewOnceMessageV2Extension: { message } } : { viewOnceMessageV2: { message } }
}

/** What the sender says of a file, in the words of any of its sorts. */
function said({
  caption,
  viewOnce,
}: {
  readonly caption?: string | undefined
  readonly viewOnce?: boolean | undefined
}) {
  return { ...(caption ? { caption } : {}), ...(viewOnce ? { viewOnce } : {}) }
}

const plain = (message: proto.IMessage): Encoding => ({ message, attributes: {}, nodes: [] })

function encodeText(
  { text }: ContentOf<'text'>,
  info: proto.IContextInfo | undefined,
  preview: LinkPreview | undefined,
): proto.IMessage {
  if (!info && !preview) return { conversation: text.body }
  const { thumbnail } = preview ?? {}
  const shown = preview && {
    ...{ matchedText: preview.url, title: preview.title, description: preview.description ?? '' },
    ...(thumbnail ? { jpegThumbnail: thumbnail } : {}),
  }
  return { extendedTextMessage: { text: text.body, ...shown, ...(info ? { contextInfo: info } : {}) } }
}

function encodeLocation({ location }: ContentOf<'location'>): proto.Message.ILocationMessage {
  const { latitude, longitude, name, address } = location
  return {
    degreesLatitude: latitude,
    degreesLongitude: longitude,
    ...(name ? { name } : {}),
    ...(address ? { address } : {}),
  }
}

function encodeContacts({ contacts }: ContentOf<'contacts'>, quoted: Quoting): proto.IMessage {
  const cards = contacts.map((card) => ({ displayName: card.name.formattedName, vcard: writeVcard(card) }))
  const [only, ...others] = cards
  if (only && others.length === 0) return { contactMessage: { ...only, ...quoted } }
  return { contactsArrayMessage: { displayName: `${cards.length} contacts`, contacts: cards, ...quoted } }
}

function encodePoll({ poll }: ContentOf<'poll'>, sent: SentMessage, context: EncodeContext): proto.IMessage {
  if (!sent.secret) throw new SendError('poll_without_secret', { sent: 'no', final: true })
  const creation = {
    name: poll.question,
    selectableOptionsCount: poll.maxSelections,
    options: poll.options.map((optionName) => ({ optionName })),
    ...quoting(sent, context),
  }
  return {
    messageContextInfo: { messageSecret: sent.secret },
    // The third version is what phones write for a poll of one choice.
    ...(poll.maxSelections === 1 ? { pollCreationMessageV3: creation } : { pollCreationMessage: creation }),
  }
}

function encodeVote({ vote }: ContentOf<'vote'>, sent: SentMessage, context: EncodeContext): proto.IMessage {
  const { reference, secret } = sent
  if (!reference || !secret) throw new SendError('poll_without_secret', { sent: 'no', final: true })
  const byLid = isByLid(sent)
  const encoded = context.codec.proto.Message.PollVoteMessage.encode({ selectedOptions: vote.options.map(optionHash) })
  const sealed = sealVote(
    {
      pollId: reference.whatsappId,
      pollSecret: secret,
      pollAuthor: jidOf(reference.author ?? context.me, byLid),
      voter: jidOf(context.me, byLid),
    },
    encoded.finish(),
  )
  return {
    pollUpdateMessage: {
      pollCreationMessageKey: keyOf(sent, context),
      vote: { encPayload: sealed.payload, encIv: sealed.iv },
      senderTimestampMs: context.now,
    },
  }
}

function encodeEdit({ edit }: ContentOf<'edit'>, sent: SentMessage, context: EncodeContext): proto.IMessage {
  const { MESSAGE_EDIT } = context.codec.proto.Message.ProtocolMessage.Type
  return {
    protocolMessage: {
      key: keyOf(sent, context),
      type: MESSAGE_EDIT,
      editedMessage: { conversation: edit.text.body },
      timestampMs: context.now,
    },
  }
}

// What it refers to

/** The key of the message that this one is about. Throws when there is none. */
function keyOf(sent: SentMessage, { me }: EncodeContext): proto.IMessageKey {
  const { reference, to } = sent
  if (!reference) throw new SendError('reference_missing', { sent: 'no', final: true })
  const author = reference.author
  return {
    remoteJid: toJid(to),
    id: reference.whatsappId,
    fromMe: author === undefined,
    ...(to.groupJid ? { participant: jidOf(author ?? me, true) } : {}),
  }
}

type Quoting = { readonly contextInfo?: proto.IContextInfo }

function quoting(sent: SentMessage, context: EncodeContext, mentions?: readonly string[]): Quoting {
  const info = contextInfo(sent, context, mentions)
  return info ? { contextInfo: info } : {}
}

function contextInfo(
  sent: SentMessage,
  context: EncodeContext,
  mentions: readonly string[] = [],
): proto.IContextInfo | undefined {
  const { reference } = sent
  if (!reference && mentions.length === 0) return undefined
  return {
    ...(mentions.length > 0 ? { mentionedJid: mentions.map(mentionJid) } : {}),
    ...(reference
      ? {
          stanzaId: reference.whatsappId,
          participant: jidOf(reference.author ?? context.me, isByLid(sent)),
          quotedMessage: quotation(reference),
        }
      : {}),
  }
}

/** What is shown above an answer. Enough to recognise it by; the phones have the message itself. */
function quotation({ content }: MessageReference): proto.IMessage {
  return { conversation: content ? summaryOf(content) : '' }
}

function summaryOf(content: OutboundContent | InboundContent): string {
  switch (content.type) {
    case 'text':
      return content.text.body
    case 'image':
      return content.image.caption ?? ''
    case 'video':
      return content.video.caption ?? ''
    case 'document':
      return content.document.caption ?? content.document.filename ?? ''
    case 'poll':
      return content.poll.question
    case 'location':
      return content.location.name ?? ''
    case 'contacts':
      return content.contacts.map(({ name }) => name.formattedName).join(', ')
    default:
      return ''
  }
}

/** Groups name people by LID, and chats as they are addressed. */
const isByLid = ({ to }: SentMessage): boolean => to.groupJid !== undefined || to.waId === undefined

function jidOf(address: WhatsAppAddress, byLid: boolean): string {
  const { waId, lid } = address
  return toJid(byLid && lid ? { lid } : waId ? { waId } : address)
}

/** A jid, a LID or a number, as the caller wrote it. */
const mentionJid = (mention: string): string =>
  mention.includes('@') ? mention : `${mention.replaceAll(/\D/g, '')}@s.whatsapp.net`
