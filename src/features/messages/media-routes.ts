/** The HTTP routes of media: upload, download, what is known of it, delete. */
import { z } from 'zod'
import type { Clock } from '../../kernel/clock.js'
import { sha256 } from '../../kernel/crypto.js'
import { AppError } from '../../kernel/errors.js'
import type { IdGenerator, MediaId, TenantId } from '../../kernel/ids.js'
import { storable } from '../../kernel/storable-text.js'
import type { Database } from '../../platform/database/database.js'
import { REPLAYED_HEADER, readIdempotency } from '../../platform/http/idempotency.js'
import { claimKey, type RequestIdentity, releaseKey, storeAnswer } from '../../platform/http/idempotency-store.js'
import { type App, idParam } from '../../platform/http/route.js'
import { type FilePart, takeFile } from '../../platform/http/upload.js'
import type { MediaStorage } from '../../platform/media/media.js'
import { assertFits, type MediaType, maxBytesFor, mediaTypes, storageKeyOf, tooLarge } from './media.js'
import { findOwnMedia, noMedia, sendMedia } from './media-download.js'
import { deleteMedia, findMedia, insertUpload } from './media-store.js'
import { mediaUrlRoute } from './media-url-route.js'
import { type MediaView, mediaView, viewMedia } from './media-view.js'
import { type StoredMedia, storeMedia } from './store-media.js'

export interface MediaRoutesDeps {
  readonly db: Database
  readonly ids: IdGenerator
  readonly storage: MediaStorage
  readonly clock: Pick<Clock, 'now'>
  /** Our own limit for any file. */
  readonly maxBytes: number
}

/** What a form adds around its file. */
const FORM_BYTES = 64 * 1024
const MAX_FILENAME = 255

export function mediaRoutes(deps: MediaRoutesDeps): (app: App) => void {
  const { db, storage } = deps
  return (app) => {
    void app.register(async (scoped) => {
      // Only here: everywhere else a form is an unsupported media type. The body is read by the route itself.
      scoped.addContentTypeParser('multipart/form-data', (_request, _body, done) => done(null, undefined))
      uploadRoute(scoped as App, deps)
    })

    app.get(
      '/api/media/:id',
      {
        config: { scope: 'read', download: true },
        schema: {
          tags: ['Media'],
          summary: 'Download a file',
          description:
            'The bytes, also by `Range`. 409 `media_pending` while they are still on their way, 410 `media_unavailable` when they will not come.',
          params: z.object({ id: idParam('med') }),
        },
      },
      async (request, reply) => {
        const row = await findOwnMedia(db, request.auth.tenantId, request.params.id)
        return sendMedia(request, reply, { row, storage })
      },
    )

    app.get(
      '/api/media/:id/info',
      {
        config: { scope: 'read' },
        schema: {
          tags: ['Media'],
          summary: 'What is known of a file',
          params: z.object({ id: idParam('med') }),
          response: { 200: mediaView },
        },
      },
      async (request) => viewMedia(await findOwnMedia(db, request.auth.tenantId, request.params.id)),
    )

    mediaUrlRoute(app, deps)

    app.delete(
      '/api/media/:id',
      {
        config: { scope: 'delete' },
        schema: {
          tags: ['Media'],
          summary: 'Delete a file',
          description:
            'Here, not on the phones that have it. 409 `media_in_use` while a message waits to be sent with it.',
          params: z.object({ id: idParam('med') }),
          response: { 204: z.null() },
        },
      },
      async (request, reply) => {
        const { tenantId } = request.auth
        const deleted = await deleteMedia(db, tenantId, request.params.id)
        if (deleted === 'gone') throw noMedia()
        if (deleted === 'in_use') throw new AppError('media_in_use')
        await storage.remove(deleted.storageKey)
        return reply.code(204).send(null)
      },
    )
  }
}

function uploadRoute(app: App, { db, ids, storage, maxBytes }: MediaRoutesDeps): void {
  app.post(
    '/api/media',
    {
      config: { scope: 'send', idempotency: 'own', slowBody: true, upload: true },
      schema: {
        tags: ['Media'],
        summary: 'Upload a file to send',
        description:
          'A form with the file in its field `file`; other fields are ignored. `?type=` says as what it will be sent, and applies that type’s limits at once; without it they apply when it is sent. What it is is judged by its first bytes: a slip in its Content-Type is corrected, a lie is refused (415).',
        querystring: z.object({ type: z.enum(mediaTypes).optional() }).strict(),
        response: { 201: mediaView },
      },
    },
    async (request, reply) => {
      const { tenantId } = request.auth
      const { type } = request.query
      const identity = readIdempotency(request)
      const limit = maxBytesFor(type, maxBytes)
      if (Number(request.headers['content-length'] ?? 0) > limit + FORM_BYTES) {
        request.raw.resume()
        throw tooLarge(limit)
      }
      const id = ids.next('med')
      const key = storageKeyOf(tenantId, id)
      try {
        const upload = await takeFile(request.raw, request.headers, (file) => receive(file, { key, type, limit }))
        const { answer, replayed } = await keep(tenantId, { id, type: type ?? null, ...upload }, identity)
        if (replayed) await storage.remove(key)
        return reply
          .code(201)
          .header(REPLAYED_HEADER, replayed ? 'true' : undefined)
          .send(answer)
      } catch (error) {
        await storage.remove(key).catch(() => undefined)
        throw error
      }
    },
  )

  async function receive(
    { filename, mimeType, content }: FilePart,
    { key, type, limit }: { readonly key: string; readonly type: MediaType | undefined; readonly limit: number },
  ): Promise<Upload> {
    const stored = await storeMedia(storage, {
      key,
      content,
      statedMime: mimeType,
      maxBytes: limit,
      ...(type && { assertMime: (found: string) => assertFits(type, { mimeType: found, size: 0 }) }),
    })
    return { stored, filename: cleanFilename(filename) }
  }

  /** The same file under the same key is the same upload. Its bytes count, so the key is looked at when they are here. */
  async function keep(
    tenantId: TenantId,
    upload: Upload & { readonly id: MediaId; readonly type: MediaType | null },
    identity: RequestIdentity | null,
  ): Promise<{ readonly answer: MediaView; readonly replayed: boolean }> {
    if (!identity) return { answer: await insert(tenantId, upload), replayed: false }
    const fingerprint = sha256(
      Buffer.concat([identity.fingerprint, upload.stored.sha256, Buffer.from(`${upload.type} ${upload.filename}`)]),
    )
    const state = await claimKey(db, tenantId, { ...identity, fingerprint })
    if (state.state === 'running') throw new AppError('idempotency_in_progress')
    if (state.state === 'reused') throw new AppError('idempotency_key_reused')
    if (state.state === 'answered') return { answer: state.response as MediaView, replayed: true }
    const answer = await insert(tenantId, upload).catch(async (error: unknown) => {
      await releaseKey(db, tenantId, state.claim)
      throw error
    })
    await storeAnswer(db, tenantId, state.claim, { status: 201, response: answer })
    return { answer, replayed: false }
  }

  function insert(
    tenantId: TenantId,
    upload: Upload & { readonly id: MediaId; readonly type: MediaType | null },
  ): Promise<MediaView> {
    return db.tenantTx(tenantId, async (tx) => {
      await insertUpload(tx, tenantId, upload)
      const row = await findMedia(tx, tenantId, upload.id)
      if (!row) throw new AppError('internal')
      return viewMedia(row)
    })
  }
}

interface Upload {
  readonly stored: StoredMedia
  readonly filename: string | null
}

/** A name that may stand in a header, a message and a row. */
function cleanFilename(filename: string | undefined): string | null {
  const name = storable(filename ?? '')
    .replaceAll(/[\p{Cc}/\\]/gu, '')
    .trim()
  return name === '' ? null : name.slice(0, MAX_FILENAME).toWellFormed()
}
