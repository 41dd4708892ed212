/**
 * The one file of a form (multipart/form-data), as a stream: it is never held as a whole, in memory or on disk, by anybody
 * but its taker. Promises: the taker has ended when this ends; what breaks off is told as such; a caller that is refused
 * can read why, because the rest of what it sends is read and thrown away.
 */
import type { IncomingHttpHeaders } from 'node:http'
import type { Readable } from 'node:stream'
import { Busboy, type BusboyFileStream, type BusboyHeaders, type BusboyInstance } from '@fastify/busboy'
import { AppError } from '../../kernel/errors.js'

export interface FilePart {
  /** As the caller names it, without directories. */
  readonly filename: string | undefined
  readonly mimeType: string
  /** Ends by throwing `upload_truncated` when the rest does not come. */
  readonly content: AsyncIterable<Uint8Array>
}

export const FILE_FIELD = 'file'
/** A caller that sends nothing for so long has gone. */
const IDLE_MS = 30_000

/** Hands the file to `take` and resolves to what it made of it. Rejects with AppError, or what `take` rejected with. */
export function takeFile<Result>(
  body: Readable,
  headers: IncomingHttpHeaders,
  take: (file: FilePart) => Promise<Result>,
  idleMs = IDLE_MS,
): Promise<Result> {
  return new Promise((resolve, reject) => {
    const form = openForm(headers)
    let file: BusboyFileStream | undefined
    let taking: Promise<Result> | undefined
    let isOver = false
    let idle = setTimeout(giveUpIdle, idleMs)

    form.on('file', (name, part, filename, _encoding, mimeType) => {
      part.on('error', () => undefined)
      if (name !== FILE_FIELD) return void part.resume()
      file = part
      taking = take({ filename: unescaped(filename), mimeType, content: contentOf(part) })
      taking.catch(fail)
    })
    form.on('filesLimit', () => fail(new AppError('invalid_request', { errors: [onlyOne] })))
    form.on('error', (cause: unknown) => fail(new AppError('upload_truncated', { cause })))
    form.on('finish', () => {
      if (taking) taking.then(succeed, fail)
      else fail(new AppError('invalid_request', { errors: [missing] }))
    })
    body.on('data', () => {
      clearTimeout(idle)
      if (!isOver) idle = setTimeout(giveUpIdle, idleMs)
    })
    body.once('error', (cause: unknown) => fail(new AppError('upload_truncated', { cause })))
    body.once('close', () => {
      if (!body.readableEnded) fail(new AppError('upload_truncated'))
    })
    body.pipe(form)

    function giveUpIdle(): void {
      fail(new AppError('request_timeout'))
    }

    function succeed(result: Result): void {
      if (isOver) return
      isOver = true
      clearTimeout(idle)
      resolve(result)
    }

    function fail(error: unknown): void {
      if (isOver) return
      isOver = true
      clearTimeout(idle)
      body.unpipe(form)
      body.resume()
      file?.destroy(error instanceof Error ? error : undefined)
      // Who takes the file cleans up behind itself before the caller hears of it.
      const ended = taking?.catch(() => undefined) ?? Promise.resolve()
      void ended.then(() => reject(error))
    }
  })
}

const onlyOne = { pointer: `/${FILE_FIELD}`, detail: 'Send one file.' }
const missing = { pointer: `/${FILE_FIELD}`, detail: 'The form has no file in this field.' }

function openForm(headers: IncomingHttpHeaders): BusboyInstance {
  try {
    return new Busboy({
      headers: headers as BusboyHeaders,
      limits: { files: 1, fields: 20, parts: 30, fieldNameSize: 100, fieldSize: 4_096, headerPairs: 20 },
    })
  } catch (cause) {
    throw new AppError('invalid_request', { detail: 'The form names no boundary.', cause })
  }
}

/** Browsers write a quotation mark in a file's name so (WHATWG HTML, multipart/form-data encoding). */
const unescaped = (filename: string | undefined): string | undefined => filename?.replaceAll('%22', '"') || undefined

async function* contentOf(part: BusboyFileStream): AsyncGenerator<Uint8Array> {
  try {
    yield* part
  } catch (cause) {
    throw cause instanceof AppError ? cause : new AppError('upload_truncated', { cause })
  }
}
