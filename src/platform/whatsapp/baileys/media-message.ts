/** Which member of a message holds its file. */
import type { proto } from 'baileys'
import type { MediaType } from '../content.js'

export type MediaMessage = proto.Message.IImageMessage &
  proto.Message.IVideoMessage &
  proto.Message.IAudioMessage &
  proto.Message.IDocumentMessage &
  proto.Message.IStickerMessage

const MEDIA_FIELDS = [
  ['imageMessage', 'image'],
  ['videoMessage', 'video'],
  ['ptvMessage', 'video'],
  ['audioMessage', 'audio'],
  ['documentMessage', 'document'],
  ['stickerMessage', 'sticker'],
] as const satisfies readonly (readonly [keyof proto.IMessage, MediaType])[]

export function mediaOf(inner: proto.IMessage) {
  for (const [field, type] of MEDIA_FIELDS) {
    const found = inner[field] as MediaMessage | null | undefined
    if (found) return { field, type, found }
  }
  return undefined
}

export const mediaField = (type: MediaType): keyof proto.IMessage => `${type}Message`
