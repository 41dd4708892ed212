/**
 * The storage port: where the bytes of media lie. A directory, or a bucket; what is stored of it (whose it is, what it is
 * called, whether it may be seen) is a row in PostgreSQL, never asked of the storage.
 *
 * What every storage must keep (media.contract.ts):
 * - What is stored under a key is whole: it is there, durable and complete, when `put` resolves, and not at all before.
 * - A `put` that fails, or whose stream breaks off, leaves nothing behind.
 * - Nothing is ever held in memory as a whole.
 */
import type { Readable } from 'node:stream'

export interface MediaStorage {
  /** Stores the stream; what was under the key before is replaced. Rejects with StorageError, or with the stream's own error. */
  put(key: string, content: AsyncIterable<Uint8Array>): Promise<StoredFile>
  /** The bytes, or those of a range. Rejects with StorageError `missing`. The caller reads the stream or destroys it. */
  open(key: string, range?: ByteRange): Promise<Readable>
  exists(key: string): Promise<boolean>
  /** Resolves whether or not there was something. */
  remove(key: string): Promise<void>
  /** A URL by which anybody may download the file, as an attachment, for so long. Only of storages that others can reach. */
  readonly link?: (link: StorageLink) => Promise<string>
}

export interface StorageLink {
  readonly key: string
  /** As what the file is saved. */
  readonly filename: string
  readonly mimeType: string
  readonly expiresInSeconds: number
}

export interface StoredFile {
  readonly key: string
  readonly size: number
  readonly sha256: Buffer
}

/** Both ends count: the first hundred bytes are 0 to 99. */
export interface ByteRange {
  readonly start: number
  readonly end: number
}

/** `full`: no room left, or too many files. `failed`: whatever else a disk or a service may say. */
export type StorageFailure = 'missing' | 'full' | 'failed'

export class StorageError extends Error {
  readonly code: StorageFailure

  constructor(code: StorageFailure, options: { readonly cause?: unknown } = {}) {
    super(`media storage: ${code}`, options.cause === undefined ? {} : { cause: options.cause })
    this.name = 'StorageError'
    this.code = code
  }
}

/** One name or several, joined by slashes; never a path that leads elsewhere. Throws on any other. */
export function assertKey(key: string): void {
  if (!/^[\w-]{1,100}(\/[\w-]{1,100}){0,4}$/.test(key)) throw new TypeError('not a key of the media storage')
}
