/** Files to WhatsApp and from it: encrypted here, never held as a whole, asked for again from the phone when they expired. */
import { createHash, randomBytes } from 'node:crypto'
import type { WAMessage, WASocket } from 'baileys'
import type { Clock } from '../../../kernel/clock.js'
import type { MediaType } from '../content.js'
import { type FileToSend, MediaError } from '../whatsapp.js'
import type { BaileysLibrary } from './load.js'
import { decryptMedia, encryptedSize, encryptMedia, type MediaKeys } from './media-cipher.js'
import type { MediaConn } from './media-conn.js'
import { type MediaMessage, mediaField, mediaOf } from './media-message.js'

export interface MediaWire {
  upload(file: FileToSend, signal: AbortSignal): Promise<Buffer>
  download(source: Buffer, signal: AbortSignal): AsyncIterable<Uint8Array>
}

export interface MediaWireOptions {
  readonly baileys: Pick<BaileysLibrary, 'proto' | 'getMediaKeys' | 'MEDIA_PATH_MAP'>
  readonly library: Pick<WASocket, 'updateMediaMessage'>
  readonly conn: MediaConn
  readonly clock: Pick<Clock, 'now'>
  /** The phone has so long to send a file again. @default 30,000 */
  readonly reuploadMs?: number
}

const MEDIA_KEY_BYTES = 32
const REUPLOAD_MS = 30_000
const NOT_FOUND = 404

export function createMediaWire(options: MediaWireOptions): MediaWire {
  const { baileys, library, conn, clock, reuploadMs = REUPLOAD_MS } = options
  const { Message, WebMessageInfo } = baileys.proto

  return {
    async upload(file, signal) {
      const mediaKey = randomBytes(MEDIA_KEY_BYTES)
      const keys = await keysOf(mediaKey, file.type)
      // WhatsApp wants the hash of the encrypted file before the file: it is encrypted twice, rather than put on a disk.
      const hash = createHash('sha256')
      for await (const chunk of encryptMedia(await file.open(), keys)) hash.update(chunk)
      const fileEncSha256 = hash.digest()
      const token = fileEncSha256.toString('base64url')
      const { url, directPath } = await conn.post({
        path: `${baileys.MEDIA_PATH_MAP[file.type]}/${token}`,
        query: (auth) => `auth=${encodeURIComponent(auth)}&token=${token}`,
        size: encryptedSize(file.size),
        body: () => encrypted(file, keys),
        signal,
      })
      const { filename, width, height, seconds, waveform, thumbnail } = file
      const media: MediaMessage = {
        ...{ url, directPath, mediaKey, fileEncSha256, fileSha256: file.sha256, fileLength: file.size },
        mimetype: file.mimeType,
        mediaKeyTimestamp: Math.floor(clock.now() / 1_000),
        ...(filename && file.type === 'document' ? { fileName: filename, title: filename } : {}),
        ...(width && height ? { width, height } : {}),
        ...(seconds ? { seconds } : {}),
        ...(waveform ? { waveform } : {}),
        ...(thumbnail && file.type !== 'sticker' ? { jpegThumbnail: thumbnail } : {}),
      }
      return Buffer.from(Message.encode(Message.fromObject({ [mediaField(file.type)]: media })).finish())
    },
    download,
  }

  async function keysOf(mediaKey: Uint8Array, type: MediaType): Promise<MediaKeys> {
    const { iv, cipherKey, macKey } = await baileys.getMediaKeys(mediaKey, type)
    if (!macKey) throw new MediaError('corrupt')
    return { iv, cipherKey, macKey }
  }

  async function* download(source: Buffer, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const info = WebMessageInfo.decode(source)
    const { type, found } = mediaOf(info.message ?? {}) ?? {}
    if (!type || !found?.mediaKey?.length) throw new MediaError('corrupt')
    const keys = await keysOf(found.mediaKey, type)
    const content = await fetchOrAsk(info as WAMessage, found, signal)
    try {
      yield* decryptMedia(content, keys, found.fileSha256 ?? undefined)
    } catch (cause) {
      // The connection broke in the middle.
      throw cause instanceof MediaError ? cause : new MediaError('unreachable', { cause })
    }
  }

  async function fetchOrAsk(info: WAMessage, media: MediaMessage, signal: AbortSignal) {
    const place = placeOf(media)
    try {
      return await conn.get(place, signal)
    } catch (error) {
      if (!(error instanceof MediaError) || error.code !== 'expired') throw error
      await askAgain(info)
      // The library names a host of its own choice with the new path.
      return conn.get({ ...placeOf(media), host: place.host }, signal)
    }
  }

  /** Puts the new address into the message. Fault S10: the library would wait for ever. */
  async function askAgain(info: WAMessage): Promise<void> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(new MediaError('unreachable')), reuploadMs)
    })
    const asking = library.updateMediaMessage(info).catch((cause: unknown) => {
      const { output } = (cause ?? {}) as { output?: { statusCode?: number } }
      throw new MediaError(output?.statusCode === NOT_FOUND ? 'expired' : 'unreachable', { cause })
    })
    // It may still fail when nobody waits any more.
    asking.catch(() => undefined)
    try {
      await Promise.race([asking, late])
    } finally {
      clearTimeout(timer)
    }
  }
}

async function* encrypted(file: FileToSend, keys: MediaKeys): AsyncGenerator<Uint8Array> {
  yield* encryptMedia(await file.open(), keys)
}

function placeOf({ url, directPath }: MediaMessage): { path: string; host: string | undefined } {
  const named = url && URL.canParse(url) ? new URL(url) : undefined
  const path = directPath || (named && named.pathname + named.search)
  if (!path?.startsWith('/') || path.startsWith('//')) throw new MediaError('expired')
  return { path, host: named?.host }
}
