/**
 * The file of a message that is about to be sent: given to WhatsApp from the storage, once for all messages of the instance
 * that carry it, and kept, so that whatever is sent again under its id, or asked for again, is the same to the byte.
 */
import type { InstanceId, MediaId, TenantId } from '../../kernel/ids.js'
import { createTurns } from '../../kernel/turns.js'
import type { Database } from '../../platform/database/database.js'
import { type MediaStorage, StorageError } from '../../platform/media/media.js'
import type { OutboundContent } from '../../platform/whatsapp/content.js'
import { type FileToSend, MediaError, SendError, type SentMessage } from '../../platform/whatsapp/whatsapp.js'
import type { SessionContext } from '../instances/session-attachment.js'
import { type DataKeys, openFor, sealFor } from '../tenants/data-keys.js'
import type { MediaRow, MediaType } from './media.js'
import { fileOf } from './media-for.js'
import { findMedia, findWhatsappUpload, keepWhatsappUpload, type UploadPlace } from './media-store.js'
import { findSent } from './sent-store.js'

export interface OutboundMediaDeps {
  readonly db: Database
  readonly storage: MediaStorage
  readonly dataKeys: Pick<DataKeys, 'dataKey'>
}

export interface OutboundMedia {
  /** What the message needs of its file; uploads it if need be. Undefined for a content without one. Rejects with SendError. */
  prepare(session: SessionContext, message: MessageWithMedia): Promise<Buffer | undefined>
  /** What was once sent under this WhatsApp id, for a recipient that asks again. */
  findSent(tenantId: TenantId, instanceId: InstanceId, whatsappId: string): Promise<SentMessage | undefined>
}

export interface MessageWithMedia {
  readonly content: OutboundContent
  readonly mediaId: MediaId | null
}

/** The code of a SendError: nothing is wrong with the message, its file cannot be read now. */
export const WITHOUT_STORAGE = 'storage_unavailable'

/** Uploads of one process at once: each reads a file and encrypts it twice. */
const MAX_UPLOADS = 4

export function createOutboundMedia({ db, storage, dataKeys }: OutboundMediaDeps): OutboundMedia {
  /** What is being uploaded: a campaign asks for the same file many times at once. */
  const underway = new Map<string, Promise<Buffer>>()
  const turns = createTurns(MAX_UPLOADS)

  return {
    async prepare(session, { content, mediaId }) {
      const type = fileOf(content)?.type
      if (!type) return undefined
      if (!mediaId) throw gone()
      const { tenantId, instanceId } = session
      const place = { tenantId, instanceId, mediaId, type }
      const key = `${instanceId} ${mediaId} ${type}`
      const before = underway.get(key)
      if (before) return before
      const uploading = findOrUpload(session, place).finally(() => underway.delete(key))
      underway.set(key, uploading)
      return uploading
    },
    async findSent(tenantId, instanceId, whatsappId) {
      const found = await findSent(db, tenantId, instanceId, whatsappId)
      if (!found) return undefined
      const { message, mediaId } = found
      const type = fileOf(message.content)?.type
      if (!type) return message
      const media = mediaId && (await openUpload({ tenantId, instanceId, mediaId, type }))
      // Without its file there is nothing that could be sent again.
      return media ? { ...message, media } : undefined
    },
  }

  async function findOrUpload(session: SessionContext, place: UploadPlace): Promise<Buffer> {
    return (await openUpload(place)) ?? turns.take(() => upload(session, place))
  }

  async function upload({ connection, signal }: SessionContext, place: UploadPlace): Promise<Buffer> {
    const row = await findMedia(db, place.tenantId, place.mediaId)
    if (!row) throw gone()
    if (!connection.uploadMedia) throw new SendError('unsupported_content', { sent: 'no', final: true })
    const { file, trouble } = fileToSend(row, place.type)
    const uploaded = await connection.uploadMedia(file, { signal }).catch((error) => asSendError(trouble() ?? error))
    const key = await dataKeys.dataKey(place.tenantId, place.instanceId)
    // Kept before it is used: what goes under one id is the same however often it goes.
    await keepWhatsappUpload(db, place, sealFor(key, sealedPlace(place), uploaded))
    return uploaded
  }

  async function openUpload(place: UploadPlace): Promise<Buffer | undefined> {
    const sealed = await findWhatsappUpload(db, place)
    if (!sealed) return undefined
    return openFor(await dataKeys.dataKey(place.tenantId, place.instanceId), sealedPlace(place), sealed)
  }

  /** `trouble`: what the storage said, however far it was carried before it came back. */
  function fileToSend(row: MediaRow, type: MediaType): { file: FileToSend; trouble: () => StorageError | undefined } {
    const { mimeType, size, sha256, storageKey } = row
    if (row.state !== 'stored' || mimeType === null || size === null || sha256 === null) throw gone()
    let said: StorageError | undefined
    const note = (error: unknown): void => {
      if (error instanceof StorageError) said = error
    }
    const file = {
      ...{ type, mimeType, size, sha256 },
      filename: row.filename ?? undefined,
      width: row.width ?? undefined,
      height: row.height ?? undefined,
      seconds: row.seconds ?? undefined,
      waveform: row.waveform ?? undefined,
      thumbnail: row.thumbnail ?? undefined,
      async open() {
        const opening = storage.open(storageKey)
        opening.catch(note)
        return (await opening).on('error', note)
      },
    }
    return { file, trouble: () => said }
  }
}

const sealedPlace = ({ tenantId, instanceId, mediaId, type }: UploadPlace) => ({
  ...{ tenantId, instanceId },
  kind: `media-upload-${type}`,
  id: mediaId,
})

const gone = (): SendError => new SendError('media_unavailable', { sent: 'no', final: true })

/** An upload that failed has sent nothing. */
function asSendError(cause: unknown): never {
  if (cause instanceof StorageError) {
    throw cause.code === 'missing' ? gone() : new SendError(WITHOUT_STORAGE, { sent: 'no', cause })
  }
  throw new SendError(cause instanceof MediaError ? 'media_upload_failed' : 'not_sent', { sent: 'no', cause })
}
