/** A link by which somebody without a key may download one file straight from the storage, for some minutes. */
import { z } from 'zod'
import type { Clock } from '../../kernel/clock.js'
import { AppError } from '../../kernel/errors.js'
import { publicId } from '../../kernel/ids.js'
import type { Database } from '../../platform/database/database.js'
import { type App, idParam } from '../../platform/http/route.js'
import type { MediaStorage } from '../../platform/media/media.js'
import { base, familyOf } from '../../platform/media/mime.js'
import { assertStored, findOwnMedia } from './media-download.js'

export interface MediaUrlRouteDeps {
  readonly db: Database
  readonly storage: Pick<MediaStorage, 'link'>
  readonly clock: Pick<Clock, 'now'>
}

const EXPIRES_IN = { min: 60, usual: 300, max: 900 }

export function mediaUrlRoute(app: App, { db, storage, clock }: MediaUrlRouteDeps): void {
  app.get(
    '/api/media/:id/url',
    {
      config: { scope: 'read' },
      schema: {
        tags: ['Media'],
        summary: 'A link to download a file without a key',
        description:
          'Leads to the bucket itself, as an attachment, for `expiresIn` seconds; whoever has it may download this one file. 409 `media_url_unsupported` where files lie in a directory.',
        params: z.object({ id: idParam('med') }),
        querystring: z
          .object({
            expiresIn: z.coerce
              .number()
              .int()
              .min(EXPIRES_IN.min)
              .max(EXPIRES_IN.max)
              .default(EXPIRES_IN.usual)
              .meta({ description: 'Seconds' }),
          })
          .strict(),
        response: { 200: z.object({ url: z.string(), expiresAt: z.iso.datetime() }) },
      },
    },
    async (request, reply) => {
      const row = await findOwnMedia(db, request.auth.tenantId, request.params.id)
      if (!storage.link) throw new AppError('media_url_unsupported')
      assertStored(row)
      const { expiresIn: expiresInSeconds } = request.query
      const expiresAt = new Date(clock.now() + expiresInSeconds * 1_000).toISOString()
      const filename = row.filename ?? publicId('med', row.id)
      const url = await storage.link({
        key: row.storageKey,
        filename,
        mimeType: harmless(row.mimeType),
        expiresInSeconds,
      })
      // Who has the link has the file.
      return reply.header('cache-control', 'no-store').send({ url, expiresAt })
    },
  )
}

/** The bucket sends none of our headers, so a page or a drawing must not be called one. */
function harmless(mimeType: string | null): string {
  const type = base(mimeType ?? '')
  return familyOf(type) === 'other' || type === 'image/svg+xml' ? 'application/octet-stream' : type
}
