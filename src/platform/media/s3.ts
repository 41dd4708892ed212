/**
 * Media in a bucket of an S3 service. A file of up to one part goes in one request, a larger one as a multipart upload: either
 * way it is under its key, whole, when the service has confirmed the last request, and not before. Of each file that is being
 * put one part at most is in memory; of large files only some are put at once, the others wait.
 */
import { createHash, randomUUID } from 'node:crypto'
import { Readable } from 'node:stream'
import type { Clock } from '../../kernel/clock.js'
import { createTurns } from '../../kernel/turns.js'
import { assertKey, type ByteRange, type MediaStorage, StorageError, type StorageLink } from './media.js'
import { elementOf, refusal, type S3Client, S3Error, type S3Request } from './s3-client.js'
import { type Part, splitIntoParts } from './s3-parts.js'

export interface S3StorageOptions {
  readonly client: S3Client
  readonly clock: Pick<Clock, 'now'>
  /** @default 5 MiB, the least that S3 takes as a part that is not the last */
  readonly partBytes?: number
  /** Files larger than a fifth of a part that are being put at once. @default 16 */
  readonly largeAtOnce?: number
}

const PART_BYTES = 5 * 1024 * 1024
const LARGE_AT_ONCE = 16
/** The service puts the parts together before it answers. */
const COMPLETE_MS = 120_000
/** Uploads of processes that died while writing; nobody writes for so long. */
const ABANDONED_AFTER_MS = 24 * 3_600_000
/** By this name the service tells whose upload an object came from. */
const UPLOAD_HEADER = 'x-amz-meta-upload'

export function createS3Storage({
  client,
  clock,
  partBytes = PART_BYTES,
  largeAtOnce = LARGE_AT_ONCE,
}: S3StorageOptions): MediaStorage {
  const turns = createTurns(largeAtOnce)
  let hasSwept = false

  return {
    async put(key, content) {
      assertKey(key)
      if (!hasSwept) void sweep()
      const hash = createHash('sha256')
      let size = 0
      async function* counted(): AsyncGenerator<Uint8Array> {
        for await (const chunk of content) {
          hash.update(chunk)
          size += chunk.length
          yield chunk
        }
      }
      await putParts(key, splitIntoParts(counted(), { partBytes, turns }))
      return { key, size, sha256: hash.digest() }
    },
    async open(key, range) {
      assertKey(key)
      const { body, status } = await told(
        client.send({ method: 'GET', key, ...(range && { headers: rangeOf(range) }) }),
      )
      if (range && status !== 206) {
        body.on('error', () => undefined).destroy()
        throw new StorageError('failed', { cause: new Error('the service does not know ranges') })
      }
      async function* content(): AsyncGenerator<Uint8Array> {
        try {
          yield* body as AsyncIterable<Uint8Array>
        } catch (cause) {
          throw new StorageError('failed', { cause })
        }
      }
      return Readable.from(content(), { objectMode: false })
    },
    async exists(key) {
      assertKey(key)
      try {
        await head(key)
        return true
      } catch (error) {
        if (error instanceof StorageError && error.code === 'missing') return false
        throw error
      }
    },
    async remove(key) {
      assertKey(key)
      await told(client.ask({ method: 'DELETE', key })).catch((error: unknown) => {
        if (!(error instanceof StorageError && error.code === 'missing')) throw error
      })
    },
    link: ({ key, filename, mimeType, expiresInSeconds }: StorageLink) => {
      assertKey(key)
      const query = { 'response-content-disposition': attachment(filename), 'response-content-type': mimeType }
      return client.presign({ key, query, expiresInSeconds })
    },
  }

  async function putParts(key: string, parts: AsyncGenerator<Part>): Promise<void> {
    const first = await parts.next()
    if (first.done) throw new Error('there is always a last part')
    if (first.value.isLast) {
      await told(client.ask({ method: 'PUT', key, ...bodyOf(first.value.bytes) })).finally(() =>
        parts.return(undefined),
      )
      return
    }
    await putLarge(key, first.value, parts)
  }

  async function putLarge(key: string, first: Part, rest: AsyncGenerator<Part>): Promise<void> {
    const mark = randomUUID()
    const etags: string[] = []
    let uploadId: string | undefined
    try {
      uploadId = await begin(key, mark)
      for (let part = first; ; ) {
        etags.push(await putPart(key, { uploadId, number: etags.length + 1 }, part.bytes))
        if (part.isLast) break
        const next = await rest.next()
        if (next.done) throw new Error('there is always a last part')
        part = next.value
      }
      await complete(key, { uploadId, etags, mark })
    } catch (error) {
      // The source learns that nobody reads on; the parts are of no use to anybody.
      await rest.return(undefined).catch(() => undefined)
      if (uploadId !== undefined) await abort(key, uploadId).catch(() => undefined)
      throw error
    } finally {
      await rest.return(undefined).catch(() => undefined)
    }
  }

  /** Not repeated when its end is not known: each time begins another upload. */
  async function begin(key: string, mark: string): Promise<string> {
    const headers = { [UPLOAD_HEADER]: mark }
    const { text } = await told(client.ask({ method: 'POST', key, query: { uploads: '' }, headers, repeatable: false }))
    const uploadId = elementOf(text, 'UploadId')
    if (uploadId === undefined) throw new StorageError('failed', { cause: new Error('the service named no upload') })
    return uploadId
  }

  async function putPart(
    key: string,
    { uploadId, number }: { readonly uploadId: string; readonly number: number },
    bytes: Uint8Array,
  ): Promise<string> {
    const query = { partNumber: String(number), uploadId }
    const { header } = await told(client.ask({ method: 'PUT', key, query, ...bodyOf(bytes) }))
    const etag = header('etag')
    if (etag === undefined) throw new StorageError('failed', { cause: new Error('the service gave a part no ETag') })
    return etag
  }

  async function complete(
    key: string,
    { uploadId, etags, mark }: { readonly uploadId: string; readonly etags: readonly string[]; readonly mark: string },
  ): Promise<void> {
    const list = etags.map((etag, at) => `<Part><PartNumber>${at + 1}</PartNumber><ETag>${etag}</ETag></Part>`)
    const xml = `<CompleteMultipartUpload>${list.join('')}</CompleteMultipartUpload>`
    const request: S3Request = {
      ...{ method: 'POST', key, query: { uploadId }, idleMs: COMPLETE_MS },
      ...bodyOf(Buffer.from(xml)),
      headers: { 'content-type': 'application/xml' },
    }
    try {
      const { text, header } = await client.ask(request)
      // S3 may begin to answer before it knows the end: 200, and an error in the body.
      if (elementOf(text, 'Code') !== undefined) throw refusal(500, text, header)
    } catch (error) {
      if (!(error instanceof S3Error)) throw error
      // A try whose answer was lost may have been the one that did it.
      if (!(await isDone(key, mark))) throw toStorageError(error)
    }
  }

  async function isDone(key: string, mark: string): Promise<boolean> {
    try {
      return (await client.send({ method: 'HEAD', key })).header(UPLOAD_HEADER) === mark
    } catch {
      return false
    }
  }

  async function abort(key: string, uploadId: string): Promise<void> {
    await client.ask({ method: 'DELETE', key, query: { uploadId } })
  }

  /** Of an answer without a body "no such object" cannot be told from "no such bucket". */
  async function head(key: string): Promise<void> {
    try {
      await client.send({ method: 'HEAD', key })
    } catch (error) {
      if (!(error instanceof S3Error) || error.status !== 404) throw toStorageError(error)
      await told(client.send({ method: 'HEAD' })).catch(() => {
        throw new StorageError('failed', { cause: error })
      })
      throw new StorageError('missing', { cause: error })
    }
  }

  async function sweep(): Promise<void> {
    hasSwept = true
    await removeAbandoned().catch(() => {
      hasSwept = false
    })
  }

  /** Best effort, once for a process: a rule of the bucket's life cycle does the same. */
  async function removeAbandoned(): Promise<void> {
    const { text } = await client.ask({ method: 'GET', query: { uploads: '' }, retries: 0 })
    for (const [upload] of text.matchAll(/<Upload>.*?<\/Upload>/gs)) {
      const [key, uploadId] = [elementOf(upload, 'Key'), elementOf(upload, 'UploadId')]
      const begun = Date.parse(elementOf(upload, 'Initiated') ?? '')
      const own = client.ownKey(key ?? '')
      // Without a prefix the bucket may be shared: what does not look like ours is not touched.
      if (
        own === undefined ||
        !OUR_KEY.test(own) ||
        uploadId === undefined ||
        !(begun < clock.now() - ABANDONED_AFTER_MS)
      )
        continue
      await abort(own, uploadId)
    }
  }
}

/** Tenant and file, as UUIDs. */
const OUR_KEY = /^[0-9a-f-]{36}\/[0-9a-f-]{36}$/

const bodyOf = (bytes: Uint8Array) => ({ body: bytes, bodySha256: createHash('sha256').update(bytes).digest('hex') })

const rangeOf = ({ start, end }: ByteRange) => ({ range: `bytes=${start}-${end}` })

/** It was written by a stranger, and the service sends none of our headers beside it: it is saved, never shown. */
function attachment(filename: string): string {
  const encoded = encodeURIComponent(filename.toWellFormed()).replaceAll(
    /['()*]/g,
    (mark) => `%${mark.charCodeAt(0).toString(16).toUpperCase()}`,
  )
  return `attachment; filename*=UTF-8''${encoded}`
}

async function told<Value>(work: Promise<Value>): Promise<Value> {
  try {
    return await work
  } catch (error) {
    throw toStorageError(error)
  }
}

/** What the service says, in the words of the port. A bucket that is not there says nothing about a file. */
export function toStorageError(error: unknown): unknown {
  if (!(error instanceof S3Error)) return error
  if (error.code === 'NoSuchKey') return new StorageError('missing', { cause: error })
  const isFull = error.status === 507 || /Quota|StorageFull|InsufficientStorage|NoSpace|EntityTooLarge/.test(error.code)
  return new StorageError(isFull ? 'full' : 'failed', { cause: error })
}
