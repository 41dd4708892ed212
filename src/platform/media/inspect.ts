/**
 * What WhatsApp wants told about media beside the bytes: width and height and a small JPEG of a picture, seconds of film and
 * sound, the wave form of a voice note. All of it is decoration: what cannot be read is left out, in bounded time and memory,
 * and nothing here ever refuses a file.
 *
 * Libraries: `sharp` (Apache-2.0) comes with Baileys, which names it as a peer, so it costs no further installation; it is
 * loaded at the first picture. `music-metadata` (MIT) is Baileys' own too. There is no light library that takes a frame out of
 * a film: films go without a thumbnail.
 */
import type { Readable } from 'node:stream'
import type { Sharp } from 'sharp'
import { base, familyOf, HEAD_BYTES, judgeMime } from './mime.js'
import { readFilm } from './mp4.js'
import { readVoiceNote } from './ogg-opus.js'

export interface Inspection {
  readonly width?: number
  readonly height?: number
  readonly seconds?: number
  readonly waveform?: Buffer
  /** JPEG, a few kB. */
  readonly thumbnail?: Buffer
}

export interface InspectOptions {
  readonly mimeType: string
  readonly size: number
  /** Reads the file from its beginning; may be called more than once. */
  readonly open: () => Promise<Readable>
}

const THUMBNAIL_EDGE = 72
const THUMBNAIL_QUALITY = 50
/** A picture of more is a bomb, or will not be shown by a phone. */
const MAX_PIXELS = 64_000_000
const MAX_PICTURE_BYTES = 32 * 1024 * 1024
const WITHIN_SECONDS = 15
const FILMS: ReadonlySet<string> = new Set(['video/mp4', 'video/quicktime', 'video/3gpp'])
const PICTURES: ReadonlySet<string> = new Set(['image/jpeg', 'image/png', 'image/webp', 'image/gif'])

/** Never rejects for what the file holds. */
export async function inspectMedia(options: InspectOptions): Promise<Inspection> {
  const family = familyOf(options.mimeType)
  if (family === 'image') return (await reading(options, readPicture)) ?? {}
  if (base(options.mimeType) === 'audio/ogg') {
    const voice = await reading(options, readVoiceNote)
    if (voice) return { ...voice, seconds: Math.max(1, Math.round(voice.seconds)) }
  }
  const film = FILMS.has(base(options.mimeType)) ? await reading(options, readFilm) : undefined
  if (film?.seconds !== undefined) return { ...film, seconds: Math.max(1, Math.round(film.seconds)) }
  if (family === 'audio' || family === 'video') return { ...film, ...(await reading(options, readDuration)) }
  return {}
}

/** A picture as a small JPEG, for somebody who has its bytes; undefined for what is no picture, or is too large. */
export async function makeThumbnail(picture: Uint8Array, edge: number): Promise<Buffer | undefined> {
  const judgement = await judgeMime(picture.subarray(0, HEAD_BYTES), undefined)
  // Not all that `sharp` can read: a drawing (SVG) may name other files.
  if (!('mimeType' in judgement) || !PICTURES.has(judgement.mimeType)) return undefined
  const { default: sharp } = await import('sharp')
  const small = shrunk(sharp(picture, { limitInputPixels: MAX_PIXELS }).timeout({ seconds: WITHIN_SECONDS }), edge)
  return small.toBuffer().catch(() => undefined)
}

/** Opens the file for one reader and closes it behind it, whatever the reader did; undefined when it failed or took too long. */
async function reading<Result>(
  options: InspectOptions,
  read: (content: Readable, options: InspectOptions) => Promise<Result>,
): Promise<Result | undefined> {
  const content = await options.open()
  content.on('error', () => undefined)
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), WITHIN_SECONDS * 1_000)
  })
  try {
    return await Promise.race([read(content, options).catch(() => undefined), late])
  } finally {
    clearTimeout(timer)
    content.destroy()
  }
}

async function readPicture(content: Readable, { size }: InspectOptions): Promise<Inspection> {
  if (size > MAX_PICTURE_BYTES) return {}
  const { default: sharp } = await import('sharp')
  const picture = sharp({ limitInputPixels: MAX_PIXELS, sequentialRead: true }).timeout({ seconds: WITHIN_SECONDS })
  content.on('error', (error) => picture.destroy(error))
  const small = shrunk(picture.clone(), THUMBNAIL_EDGE)
  content.pipe(picture)
  const [{ width, height, orientation = 1 }, thumbnail] = await Promise.all([
    picture.metadata(),
    small.toBuffer().catch(() => undefined),
  ])
  // From 5 on the picture is stored lying on its side.
  const upright = orientation < 5 ? { width, height } : { width: height, height: width }
  return { ...upright, ...(thumbnail ? { thumbnail } : {}) }
}

function shrunk(picture: Sharp, edge: number): Sharp {
  return picture
    .rotate()
    .resize({ width: edge, height: edge, fit: 'inside', withoutEnlargement: true })
    .flatten({ background: '#ffffff' })
    .jpeg({ quality: THUMBNAIL_QUALITY })
}

async function readDuration(content: Readable, { mimeType, size }: InspectOptions): Promise<Inspection> {
  const { parseStream } = await import('music-metadata')
  const { format } = await parseStream(
    content,
    { mimeType: base(mimeType), size },
    { duration: true, skipCovers: true },
  )
  return format.duration === undefined ? {} : { seconds: Math.max(1, Math.round(format.duration)) }
}
