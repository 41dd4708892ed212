/** A stored file as an HTTP answer: whole, a range of it, or "you have it already". */
import { Readable } from 'node:stream'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { AppError } from '../../kernel/errors.js'
import { type MediaId, publicId, type TenantId } from '../../kernel/ids.js'
import type { Database } from '../../platform/database/database.js'
import type { ByteRange, MediaStorage } from '../../platform/media/media.js'
import { base, familyOf } from '../../platform/media/mime.js'
import type { MediaRow } from './media.js'
import { findMedia } from './media-store.js'
import { inStorage } from './store-media.js'

export async function sendMedia(
  request: FastifyRequest,
  reply: FastifyReply,
  { row, storage }: { readonly row: MediaRow; readonly storage: MediaStorage },
): Promise<FastifyReply> {
  assertStored(row)
  const etag = `"${row.sha256.toString('hex')}"`
  reply.headers({
    etag,
    'accept-ranges': 'bytes',
    // A file never changes, and belongs to one tenant.
    'cache-control': 'private, max-age=31536000, immutable',
    // It was written by a stranger: whatever it is, it is shown and not run.
    'content-security-policy': "default-src 'none'; style-src 'unsafe-inline'; sandbox",
    'cross-origin-resource-policy': 'same-origin',
    'content-type': row.mimeType ?? 'application/octet-stream',
    'content-disposition': disposition(row),
  })
  if (listOf(request.headers['if-none-match']).some((tag) => tag === etag || tag === '*')) return reply.code(304).send()
  const range = wantedRange(request, etag, row.size)
  if (range === 'none') {
    reply.header('content-range', `bytes */${row.size}`).removeHeader('etag')
    throw new AppError('range_not_satisfiable')
  }
  if (range) reply.code(206).header('content-range', `bytes ${range.start}-${range.end}/${row.size}`)
  reply.header('content-length', range ? range.end - range.start + 1 : row.size)
  // An empty stream, because of a missing one Fastify would say that its length is 0.
  if (request.method === 'HEAD') return reply.send(Readable.from([]))
  return reply.send(await inStorage(storage.open(row.storageKey, range)))
}

export type StoredRow = MediaRow & { readonly size: number; readonly sha256: Buffer }

/** Throws `media_pending` or `media_unavailable` when there are no bytes to give. */
export function assertStored(row: MediaRow): asserts row is StoredRow {
  if (row.state === 'pending') throw new AppError('media_pending')
  if (row.state === 'failed' || row.size === null || row.sha256 === null) {
    throw new AppError('media_unavailable', row.errorCode === null ? {} : { detail: `The reason: ${row.errorCode}.` })
  }
}

export async function findOwnMedia(db: Database, tenantId: TenantId, mediaId: MediaId): Promise<MediaRow> {
  const row = await db.tenantTx(tenantId, (tx) => findMedia(tx, tenantId, mediaId))
  if (!row) throw noMedia()
  return row
}

export const noMedia = (): AppError => new AppError('not_found', { detail: 'No media has this id.' })

function wantedRange({ headers }: FastifyRequest, etag: string, size: number): ByteRange | 'none' | undefined {
  const condition = headers['if-range']
  if (condition !== undefined && condition !== etag) return undefined
  return parseRange(headers.range, size)
}

/** One range (RFC 9110 §14). Several, or what cannot be read, count as none asked for; `none`: the file has no such bytes. */
export function parseRange(header: string | undefined, size: number): ByteRange | 'none' | undefined {
  const [, first, last] = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header?.trim() ?? '') ?? []
  if (first === undefined || last === undefined || (first === '' && last === '')) return undefined
  if (first === '') return Number(last) === 0 ? 'none' : { start: Math.max(0, size - Number(last)), end: size - 1 }
  const start = Number(first)
  if (last !== '' && Number(last) < start) return undefined
  if (start >= size) return 'none'
  return { start, end: last === '' ? size - 1 : Math.min(Number(last), size - 1) }
}

/** Pictures, films and sounds may be shown in place; anything else is for saving: a page must not open in our name. */
function disposition({ id, filename, mimeType }: MediaRow): string {
  const type = base(mimeType ?? '')
  const how = familyOf(type) === 'other' || type === 'image/svg+xml' ? 'attachment' : 'inline'
  const name = filename ?? publicId('med', id)
  const ascii = name.replaceAll(/[^\w. ()-]/g, '_')
  const encoded = encodeURIComponent(name.toWellFormed()).replaceAll(
    /['()*]/g,
    (mark) => `%${mark.charCodeAt(0).toString(16).toUpperCase()}`,
  )
  return `${how}; filename="${ascii}"; filename*=UTF-8''${encoded}`
}

const listOf = (header: string | undefined): string[] =>
  header?.split(',').map((tag) => tag.trim().replace(/^W\//, '')) ?? []
