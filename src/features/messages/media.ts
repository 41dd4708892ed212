/** A file of a message, and what WhatsApp takes as what. Pure. */
import { AppError } from '../../kernel/errors.js'
import type { InstanceId, MediaId, MessageId, TenantId } from '../../kernel/ids.js'
import { base } from '../../platform/media/mime.js'

export const mediaTypes = ['image', 'video', 'audio', 'document', 'sticker'] as const
export type MediaType = (typeof mediaTypes)[number]

export const mediaStates = ['pending', 'stored', 'failed'] as const

/** A media row. What is null is not known, or not yet. */
export interface MediaRow {
  readonly id: MediaId
  readonly tenantId: TenantId
  readonly instanceId: InstanceId | null
  readonly messageId: MessageId | null
  readonly direction: 'outbound' | 'inbound'
  readonly state: (typeof mediaStates)[number]
  readonly type: MediaType | null
  readonly mimeType: string | null
  readonly size: number | null
  readonly sha256: Buffer | null
  readonly filename: string | null
  readonly width: number | null
  readonly height: number | null
  readonly seconds: number | null
  readonly waveform: Buffer | null
  readonly thumbnail: Buffer | null
  readonly storageKey: string
  readonly errorCode: string | null
  readonly createdAt: Date
}

interface MediaRule {
  readonly maxBytes: number
  /** Undefined: any. */
  readonly mimeTypes?: readonly string[]
}

const MB = 1024 * 1024

/**
 * What WhatsApp takes as what. Sizes: 16 MB for pictures and 100 MB for film and sound are what its apps send (64 MB and 480p
 * on slow connections; the Cloud API has 5 and 16 MB); 2 GB for documents (FAQ "About supported file types", since 2022; the
 * Cloud API has 100 MB), 500 kB for animated stickers and 100 kB for still ones (Cloud API, "Supported media types"). Our
 * own limit for everything is MEDIA_MAX_MB. MIME types: those of the Cloud API, and what phones show besides.
 */
export const mediaRules: Readonly<Record<MediaType, MediaRule>> = {
  image: { maxBytes: 16 * MB, mimeTypes: ['image/jpeg', 'image/png', 'image/webp', 'image/gif'] },
  video: { maxBytes: 100 * MB, mimeTypes: ['video/mp4', 'video/3gpp', 'video/quicktime'] },
  audio: { maxBytes: 100 * MB, mimeTypes: ['audio/ogg', 'audio/mpeg', 'audio/mp4', 'audio/aac', 'audio/amr'] },
  document: { maxBytes: 2_048 * MB },
  sticker: { maxBytes: 500 * 1024, mimeTypes: ['image/webp'] },
}

/** The most that may be sent as this type; undefined: as any. */
export const maxBytesFor = (type: MediaType | undefined, ownLimitBytes: number): number =>
  Math.min(ownLimitBytes, mediaRules[type ?? 'document'].maxBytes)

/** Throws `media_too_large` or `media_type_refused` when a file cannot be sent as this. */
export function assertFits(
  type: MediaType,
  { mimeType, size }: { readonly mimeType: string; readonly size: number },
  { voice = false, gif = false }: { readonly voice?: boolean | undefined; readonly gif?: boolean | undefined } = {},
): void {
  const { maxBytes, mimeTypes } = mediaRules[type]
  if (size > maxBytes) throw tooLarge(maxBytes)
  if (mimeTypes && !mimeTypes.includes(base(mimeType))) {
    throw refusedType(`It is ${base(mimeType)}; as ${type} WhatsApp takes ${mimeTypes.join(', ')}.`)
  }
  if (voice && mimeType !== VOICE) throw refusedType(`It is ${base(mimeType)}; a voice note is Opus in Ogg.`)
  if (gif && mimeType !== 'video/mp4') throw refusedType(`It is ${base(mimeType)}; what plays as a GIF is an MP4.`)
}

const VOICE = 'audio/ogg; codecs=opus'

export const tooLarge = (maxBytes: number): AppError =>
  new AppError('media_too_large', { detail: `The limit is ${maxBytes} bytes.` })

export const refusedType = (detail: string): AppError => new AppError('media_type_refused', { detail })

/** To what the sealed source of a file that came in is bound. */
export const mediaSourcePlace = ({
  tenantId,
  instanceId,
  mediaId,
}: {
  readonly tenantId: TenantId
  readonly instanceId: InstanceId
  readonly mediaId: MediaId
}) => ({ tenantId, instanceId, kind: 'media-source', id: mediaId })

/** Where the bytes lie in the storage. */
export const storageKeyOf = (tenantId: TenantId, mediaId: MediaId): string => `${tenantId}/${mediaId}`
