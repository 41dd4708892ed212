import type { proto } from 'baileys'
import type { Simulation } from '../simulation.js'
import type { Person } from '../world/world.js'
import { type EncryptedFile, encryptFile } from './media-crypto.js'

export const MEDIA_TYPES = ['image', 'video', 'audio', 'document', 'sticker'] as const

export type MediaDraft = {
  readonly type: (typeof MEDIA_TYPES)[number]
  /** The file, or how many bytes of something. */
  readonly content: Buffer | number
  readonly mimeType?: string | undefined
  readonly caption?: string | undefined
  readonly filename?: string | undefined
  readonly voice?: boolean | undefined
  readonly seconds?: number | undefined
  /** To be opened once, on the phone: companions are only told of it. `everywhere`: as old phones did, to companions too. */
  readonly viewOnce?: true | 'everywhere' | undefined
}

const KEY_NAMES = { image: 'Image', sticker: 'Image', video: 'Video', audio: 'Audio', document: 'Document' } as const
const MIME_TYPES = {
  image: 'image/jpeg',
  sticker: 'image/webp',
  video: 'video/mp4',
  audio: 'audio/mpeg',
  document: 'application/octet-stream',
} as const
const VOICE_MIME_TYPE = 'audio/ogg; codecs=opus'

/** Encrypts and uploads the file, and writes the message that names it. */
export function composeMedia(
  sim: Simulation,
  author: Person,
  draft: MediaDraft,
  contextInfo: proto.IContextInfo | null,
): proto.IMessage {
  const message = mediaMessage(sim, author, draft, contextInfo)
  if (draft.viewOnce === 'everywhere') return { viewOnceMessage: { message } }
  if (!draft.viewOnce) return message
  return draft.type === 'audio' ? { viewOnceMessageV2Extension: { message } } : { viewOnceMessageV2: { message } }
}

function mediaMessage(
  sim: Simulation,
  author: Person,
  draft: MediaDraft,
  contextInfo: proto.IContextInfo | null,
): proto.IMessage {
  const label = sim.nextId(`media/${author.phone}`)
  const { type, content } = draft
  const plain = typeof content === 'number' ? sim.seeded.bytes(`${label}/bytes`, content) : content
  const mediaKey = sim.seeded.bytes(`${label}/key`, 32)
  const file = encryptFile(plain, mediaKey, KEY_NAMES[type])
  const directPath = sim.media.upload(type === 'sticker' ? 'image' : type, file.bytes)
  const media = {
    ...fileFields(file, plain.length),
    mediaKey,
    mediaKeyTimestamp: sim.seconds(),
    directPath,
    url: `https://${sim.mediaHost}${directPath}`,
    mimetype: draft.mimeType ?? (draft.voice ? VOICE_MIME_TYPE : MIME_TYPES[type]),
    contextInfo,
    ...(draft.viewOnce ? { viewOnce: true } : {}),
  }
  const caption = draft.caption ?? null
  const seconds = draft.seconds ?? null
  const fileName = draft.filename ?? 'document'
  switch (type) {
    case 'image':
      return { imageMessage: { ...media, caption, width: 1, height: 1 } }
    case 'video':
      return { videoMessage: { ...media, caption, seconds } }
    case 'audio':
      return { audioMessage: { ...media, seconds: seconds ?? 1, ptt: draft.voice ?? false } }
    case 'document':
      return { documentMessage: { ...media, caption, fileName, title: fileName } }
    case 'sticker':
      return { stickerMessage: { ...media, isAnimated: false } }
  }
}

function fileFields({ fileSha256, fileEncSha256 }: EncryptedFile, fileLength: number) {
  return { fileSha256, fileEncSha256, fileLength }
}
