/** The JSON of media. */
import { z } from 'zod'
import { type EventId, type MediaId, publicId, type TenantId } from '../../kernel/ids.js'
import type { Queryable } from '../../platform/database/database.js'
import type { RecordedEvent } from '../events/event.js'
import { type MediaRow, mediaStates, mediaTypes } from './media.js'
import { findMediaOf } from './media-store.js'

export const mediaView = z
  .object({
    id: z.string().meta({ examples: ['med_01J8Z3V9K7QW5XN2M4T6R8Y0BC'] }),
    direction: z.enum(['outbound', 'inbound']),
    instanceId: z.string().nullable(),
    messageId: z.string().nullable().meta({ description: 'The message it came with, or was fetched for.' }),
    state: z.enum(mediaStates).meta({ description: '`pending`: the bytes are still on their way.' }),
    type: z.enum(mediaTypes).nullable(),
    mimeType: z.string().nullable().meta({ description: 'By the first bytes of the file, not by its name.' }),
    size: z.number().int().nullable().meta({ description: 'Bytes' }),
    sha256: z.string().nullable().meta({ description: 'Of the file, in hex.' }),
    filename: z.string().nullable(),
    width: z.number().int().nullable(),
    height: z.number().int().nullable(),
    seconds: z.number().int().nullable(),
    error: z.object({ code: z.string() }).nullable(),
    createdAt: z.iso.datetime(),
    links: z.object({ content: z.string() }),
  })
  .meta({ id: 'Media' })
export type MediaView = z.infer<typeof mediaView>

export function viewMedia(row: MediaRow): MediaView {
  const id = publicId('med', row.id)
  const { direction, state, type, mimeType, size, filename, width, height, seconds } = row
  return {
    ...{ id, direction, state, type, mimeType, size, filename, width, height, seconds },
    instanceId: row.instanceId && publicId('ins', row.instanceId),
    messageId: row.messageId && publicId('msg', row.messageId),
    sha256: row.sha256?.toString('hex') ?? null,
    error: row.errorCode === null ? null : { code: row.errorCode },
    createdAt: row.createdAt.toISOString(),
    links: { content: `/api/media/${id}` },
  }
}

/** Describes `media.ready` and `media.failed`: the file as it is. */
export async function describeMediaEvents(
  db: Queryable,
  tenantId: TenantId,
  events: readonly RecordedEvent[],
): Promise<ReadonlyMap<EventId, MediaView>> {
  const rows = await findMediaOf(db, tenantId, [...new Set(events.map(({ subjectId }) => subjectId as MediaId))])
  const byId = new Map<string, MediaView>(rows.map((row) => [row.id, viewMedia(row)]))
  return new Map(
    events.flatMap(({ id, subjectId }) => {
      const view = byId.get(subjectId ?? '')
      return view ? [[id, view]] : []
    }),
  )
}
