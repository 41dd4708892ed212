/**
 * Takes a file into the storage: whoever it comes from, an upload, a link or WhatsApp. Its first bytes say what it is; more
 * than the limit is refused while it comes in; what was refused leaves nothing behind.
 */
import { AppError } from '../../kernel/errors.js'
import { type Inspection, inspectMedia } from '../../platform/media/inspect.js'
import { type MediaStorage, StorageError, type StoredFile } from '../../platform/media/media.js'
import { HEAD_BYTES, judgeMime } from '../../platform/media/mime.js'
import { refusedType, tooLarge } from './media.js'

export type StoredMedia = StoredFile & Inspection & { readonly mimeType: string }

export interface IncomingMedia {
  readonly key: string
  readonly content: AsyncIterable<Uint8Array>
  /** What its sender says that it is. */
  readonly statedMime?: string | undefined
  /** What is here already, and what its bytes say, counts more than what was said of it. @default refuse */
  readonly lies?: 'refuse' | 'correct' | undefined
  readonly maxBytes: number
  /** Throws what speaks against the file once its type is known. */
  readonly assertMime?: (mimeType: string) => void
}

/**
 * Rejects with AppError: `media_too_large`, `media_type_refused`, `media_empty`, `storage_unavailable`, or the content's own.
 */
export async function storeMedia(storage: MediaStorage, incoming: IncomingMedia): Promise<StoredMedia> {
  const { key, maxBytes, assertMime } = incoming
  const content = limited(incoming.content, maxBytes)
  const { head, whole } = await splitHead(content)
  let mimeType: string
  try {
    mimeType = await mimeOf(head, incoming)
    assertMime?.(mimeType)
  } catch (error) {
    // Whoever sends it learns that nobody reads on.
    await content.return(undefined)
    throw error
  }
  const stored = await inStorage(storage.put(key, whole))
  const inspection = await inStorage(
    inspectMedia({ mimeType, size: stored.size, open: () => storage.open(key) }),
  ).catch(async (error: unknown) => {
    await storage.remove(key)
    throw error
  })
  return { ...stored, ...inspection, mimeType }
}

async function mimeOf(head: Uint8Array, { statedMime, lies }: IncomingMedia): Promise<string> {
  if (head.length === 0) throw new AppError('media_empty')
  const judgement = await judgeMime(head, statedMime)
  if ('mimeType' in judgement) return judgement.mimeType
  if (lies !== 'correct') throw refusedType(judgement.lie)
  return mimeOf(head, { lies, statedMime: undefined } as IncomingMedia)
}

/** The storage's trouble as the caller's. */
export async function inStorage<Value>(work: Promise<Value>): Promise<Value> {
  try {
    return await work
  } catch (cause) {
    if (!(cause instanceof StorageError)) throw cause
    throw new AppError(cause.code === 'missing' ? 'media_unavailable' : 'storage_unavailable', { cause })
  }
}

async function* limited(content: AsyncIterable<Uint8Array>, maxBytes: number): AsyncGenerator<Uint8Array> {
  let size = 0
  for await (const chunk of content) {
    size += chunk.length
    if (size > maxBytes) throw tooLarge(maxBytes)
    yield chunk
  }
}

/** The first bytes, and a stream that still has them. */
async function splitHead(content: AsyncGenerator<Uint8Array>) {
  const chunks: Uint8Array[] = []
  let length = 0
  while (length < HEAD_BYTES) {
    const next = await content.next()
    if (next.done) break
    chunks.push(next.value)
    length += next.value.length
  }
  const start = Buffer.concat(chunks)
  async function* whole(): AsyncGenerator<Uint8Array> {
    yield start
    yield* content
  }
  return { head: start.subarray(0, HEAD_BYTES), whole: whole() }
}
