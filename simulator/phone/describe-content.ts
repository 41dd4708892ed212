import { proto } from 'baileys'

const { Type } = proto.Message.ProtocolMessage

export type ContentType =
  | 'text'
  | 'image'
  | 'video'
  | 'audio'
  | 'voice'
  | 'document'
  | 'sticker'
  | 'location'
  | 'contacts'
  | 'poll'
  | 'vote'
  | 'reaction'
  | 'edit'
  | 'delete'
  | 'other'

/** What a message is to its reader. */
export type Described = {
  readonly type: ContentType
  /** `text`, or the name of the content field of anything else. */
  readonly kind: string
  /** The text or caption. */
  readonly text: string
}

export type MediaContent = proto.Message.IImageMessage &
  proto.Message.IVideoMessage &
  proto.Message.IAudioMessage &
  proto.Message.IDocumentMessage

const WRAPPERS = [
  'ephemeralMessage',
  'viewOnceMessage',
  'viewOnceMessageV2',
  'viewOnceMessageV2Extension',
  'documentWithCaptionMessage',
  'editedMessage',
] as const

/** The content inside the envelopes that only say how it was sent. */
export function unwrapped(content: proto.IMessage): proto.IMessage {
  const inner = WRAPPERS.map((name) => content[name]?.message).find(Boolean) ?? content.deviceSentMessage?.message
  return inner ? unwrapped(inner) : content
}

/** Whether its reader can open it once. */
export function isViewOnce(content: proto.IMessage): boolean {
  const sent = content.deviceSentMessage?.message ?? content
  return Boolean(sent.viewOnceMessage ?? sent.viewOnceMessageV2 ?? sent.viewOnceMessageV2Extension)
}

/** Whether the server keeps it from companions, and only tells them that there is something. */
export function isForPhonesOnly(content: proto.IMessage): boolean {
  return Boolean(content.viewOnceMessageV2 ?? content.viewOnceMessageV2Extension)
}

export function describeContent(message: proto.IMessage): Described {
  const content = unwrapped(message)
  const text = content.conversation || content.extendedTextMessage?.text
  if (text) return { type: 'text', kind: 'text', text }
  return { type: typeOf(content), kind: fieldOf(content), text: captionOf(content) }
}

export function pollOf(content: proto.IMessage): proto.Message.IPollCreationMessage | undefined {
  return content.pollCreationMessage ?? content.pollCreationMessageV2 ?? content.pollCreationMessageV3 ?? undefined
}

/** The part of a message that names an encrypted file, and the word its keys are derived with. */
export function mediaOf(content: proto.IMessage): { media: MediaContent; keyName: string; type: string } | null {
  const found = (media: unknown, keyName: string, type: string) => ({ media: media as MediaContent, keyName, type })
  if (content.imageMessage) return found(content.imageMessage, 'Image', 'image')
  if (content.stickerMessage) return found(content.stickerMessage, 'Image', 'sticker')
  if (content.videoMessage)
    return found(content.videoMessage, 'Video', content.videoMessage.gifPlayback ? 'gif' : 'video')
  if (content.ptvMessage) return found(content.ptvMessage, 'Video', 'video')
  if (content.audioMessage) return found(content.audioMessage, 'Audio', content.audioMessage.ptt ? 'ptt' : 'audio')
  if (content.documentMessage) return found(content.documentMessage, 'Document', 'document')
  return null
}

export function contextOf(content: proto.IMessage): proto.IContextInfo | undefined {
  for (const part of Object.values(content)) {
    const context = (part as { contextInfo?: proto.IContextInfo } | null)?.contextInfo
    if (context) return context
  }
  return undefined
}

/** The `type` of the stanza that carries it. */
export function stanzaTypeOf(message: proto.IMessage): string {
  const content = unwrapped(message)
  if (content.reactionMessage) return 'reaction'
  if (pollOf(content) || content.pollUpdateMessage) return 'poll'
  return mediaTypeOf(content) ? 'media' : 'text'
}

/** The `mediatype` of the envelope. */
export function mediaTypeOf(message: proto.IMessage): string | undefined {
  const content = unwrapped(message)
  if (content.contactMessage) return 'vcard'
  if (content.contactsArrayMessage) return 'contact_array'
  return mediaOf(content)?.type
}

/** The `edit` of the stanza: what it does to an earlier message. */
export function editOf(message: proto.IMessage): string | undefined {
  const protocol = unwrapped(message).protocolMessage
  if (protocol?.type === Type.MESSAGE_EDIT) return '1'
  if (protocol?.type !== Type.REVOKE) return undefined
  return protocol.key?.fromMe ? '7' : '8'
}

function typeOf(content: proto.IMessage): ContentType {
  const media = mediaOf(content)
  if (media) return media.type === 'ptt' ? 'voice' : media.type === 'gif' ? 'video' : (media.type as ContentType)
  if (content.reactionMessage) return 'reaction'
  if (content.locationMessage || content.liveLocationMessage) return 'location'
  if (content.contactMessage || content.contactsArrayMessage) return 'contacts'
  if (pollOf(content)) return 'poll'
  if (content.pollUpdateMessage) return 'vote'
  if (content.protocolMessage?.type === Type.MESSAGE_EDIT) return 'edit'
  if (content.protocolMessage?.type === Type.REVOKE) return 'delete'
  return 'other'
}

function captionOf(content: proto.IMessage): string {
  const edited = content.protocolMessage?.editedMessage
  if (edited) return describeContent(edited).text
  return mediaOf(content)?.media.caption ?? pollOf(content)?.name ?? content.reactionMessage?.text ?? ''
}

function fieldOf(content: proto.IMessage): string {
  const isShown = (name: string) => name.includes('Message') && name !== 'senderKeyDistributionMessage'
  return Object.keys(content).find(isShown) ?? 'unknown'
}
