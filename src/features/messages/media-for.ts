/** The file of a message that is being accepted: one that is stored already, or one to be fetched. */
import { AppError } from '../../kernel/errors.js'
import { type IdGenerator, parseId, type TenantId } from '../../kernel/ids.js'
import type { Queryable } from '../../platform/database/database.js'
import type { OutboundContent } from '../../platform/whatsapp/content.js'
import type { AcceptMedia } from './accept-store.js'
import { assertFits, type MediaType, storageKeyOf } from './media.js'
import { findMedia } from './media-store.js'

/** A content with a file, whatever its type. */
export interface FileContent {
  readonly type: MediaType
  readonly link?: string | undefined
  readonly mediaId?: string | undefined
  readonly filename?: string | undefined
  readonly voice?: boolean | undefined
  readonly gif?: boolean | undefined
}

export function fileOf(content: OutboundContent): FileContent | undefined {
  switch (content.type) {
    case 'image':
      return { type: content.type, ...content.image }
    case 'video':
      return { type: content.type, ...content.video }
    case 'audio':
      return { type: content.type, ...content.audio }
    case 'document':
      return { type: content.type, ...content.document }
    case 'sticker':
      return { type: content.type, ...content.sticker }
    default:
      return undefined
  }
}

/** Rejects when the content names a file that is not there, or cannot be sent as this type. */
export async function mediaFor(
  db: Queryable,
  ids: IdGenerator,
  { tenantId, content }: { readonly tenantId: TenantId; readonly content: OutboundContent },
): Promise<AcceptMedia | undefined> {
  const file = fileOf(content)
  if (!file) return undefined
  if (file.mediaId !== undefined) return storedMedia(db, tenantId, file.mediaId, file)
  const id = ids.next('med')
  return { id, fetch: { type: file.type, filename: file.filename ?? null, storageKey: storageKeyOf(tenantId, id) } }
}

async function storedMedia(
  db: Queryable,
  tenantId: TenantId,
  mediaId: string,
  file: FileContent,
): Promise<AcceptMedia> {
  const pointer = `/${file.type}/mediaId`
  const id = parseId('med', mediaId)
  const row = id && (await findMedia(db, tenantId, id))
  if (!id || !row) {
    const detail = 'No media has this id.'
    throw new AppError('not_found', { detail, errors: [{ pointer, detail }] })
  }
  if (row.state === 'pending') throw new AppError('media_pending')
  if (row.state === 'failed' || row.mimeType === null || row.size === null) throw new AppError('media_unavailable')
  assertFits(file.type, { mimeType: row.mimeType, size: row.size }, file)
  return { id }
}
