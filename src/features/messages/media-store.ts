/** Media rows. */
import sql, { type Sql } from 'sql-template-tag'
import type { InstanceId, MediaId, MessageId, TenantId } from '../../kernel/ids.js'
import type { Queryable } from '../../platform/database/database.js'
import { ownLeases } from '../../platform/leases/fence.js'
import type { Fence } from '../../platform/leases/lease.js'
import type { OutboundContent } from '../../platform/whatsapp/content.js'
import type { MediaRow, MediaType } from './media.js'
import type { StoredMedia } from './store-media.js'

const mediaRow: Sql = sql`
  select id, tenant_id as "tenantId", instance_id as "instanceId", message_id as "messageId", direction, state, type,
    mime_type as "mimeType", size::float8 as size, sha256, filename, width, height, seconds, waveform, thumbnail,
    storage_key as "storageKey", error_code as "errorCode", created_at as "createdAt"
  from media`

export async function findMedia(db: Queryable, tenantId: TenantId, mediaId: MediaId): Promise<MediaRow | undefined> {
  const [row] = await db.query<MediaRow>(
    sql`${mediaRow} where tenant_id = ${tenantId} and id = ${mediaId}`,
    'find-media',
  )
  return row
}

export interface NewUpload {
  readonly id: MediaId
  readonly type: MediaType | null
  readonly filename: string | null
  readonly stored: StoredMedia
}

/** A file that was uploaded and lies in the storage. */
export async function insertUpload(db: Queryable, tenantId: TenantId, { id, type, filename, stored }: NewUpload) {
  await db.execute(sql`
    insert into media (id, tenant_id, direction, state, type, mime_type, size, sha256, filename, width, height, seconds,
      waveform, thumbnail, storage_key, stored_at)
    values (${id}, ${tenantId}, 'outbound', 'stored', ${type}, ${stored.mimeType}, ${stored.size}, ${stored.sha256},
      ${filename}, ${stored.width ?? null}, ${stored.height ?? null}, ${stored.seconds ?? null},
      ${stored.waveform ?? null}, ${stored.thumbnail ?? null}, ${stored.key}, now())`)
}

/** Forgets the row and says where its bytes lie; undefined when there is none, or a message still needs it to be sent. */
export async function deleteMedia(
  db: Queryable,
  tenantId: TenantId,
  mediaId: MediaId,
): Promise<'gone' | 'in_use' | { readonly storageKey: string }> {
  const [row] = await db.query<{ storageKey: string; deleted: boolean }>(sql`
    with found as materialized (
      select id, storage_key, exists (
        select from message where media_id = media.id and tenant_id = ${tenantId} and status in ('queued', 'sending')
      ) as needed
      from media where tenant_id = ${tenantId} and id = ${mediaId} for update
    ), deleted as (
      delete from media where id in (select id from found where not needed) returning id
    ), forgotten as (
      update message set media_id = null where media_id in (select id from deleted) and tenant_id = ${tenantId}
    )
    select storage_key as "storageKey", exists (select from deleted) as deleted from found`)
  if (!row) return 'gone'
  return row.deleted ? { storageKey: row.storageKey } : 'in_use'
}

export interface AwaitedMedia {
  readonly messageId: MessageId
  readonly instanceId: InstanceId
  readonly storageKey: string
  readonly content: OutboundContent
}

/** What is still to be fetched for a message that still waits for it. */
export async function findAwaited(
  db: Queryable,
  tenantId: TenantId,
  mediaId: MediaId,
): Promise<AwaitedMedia | undefined> {
  const [row] = await db.query<AwaitedMedia>(sql`
    select media.message_id as "messageId", media.instance_id as "instanceId", media.storage_key as "storageKey", m.content
    from media join message m on m.id = media.message_id
    where media.tenant_id = ${tenantId} and media.id = ${mediaId} and media.state = 'pending'
      and media.direction = 'outbound' and m.status = 'queued'`)
  return row
}

/** The bytes are in the storage. False when the row is gone, or was settled before. */
export async function markStored(
  db: Queryable,
  tenantId: TenantId,
  mediaId: MediaId,
  stored: StoredMedia,
): Promise<boolean> {
  const touched = await db.execute(sql`
    update media set state = 'stored', mime_type = ${stored.mimeType}, size = ${stored.size}, sha256 = ${stored.sha256},
      width = coalesce(${stored.width ?? null}, width), height = coalesce(${stored.height ?? null}, height),
      seconds = coalesce(${stored.seconds ?? null}, seconds), waveform = coalesce(${stored.waveform ?? null}, waveform),
      thumbnail = coalesce(${stored.thumbnail ?? null}, thumbnail), stored_at = now(), source_sealed = null,
      error_code = null
    where tenant_id = ${tenantId} and id = ${mediaId} and state = 'pending'`)
  return touched === 1
}

/** The bytes will not come. */
export async function markFailed(db: Queryable, tenantId: TenantId, mediaId: MediaId, code: string): Promise<boolean> {
  const touched = await db.execute(sql`
    update media set state = 'failed', error_code = ${code}
    where tenant_id = ${tenantId} and id = ${mediaId} and state = 'pending'`)
  return touched === 1
}

/** Fails a message that waits outside its lane. False when it does not wait any more. */
export async function failHeldMessage(
  db: Queryable,
  tenantId: TenantId,
  messageId: MessageId,
  { code, detail }: { readonly code: string; readonly detail: string },
): Promise<boolean> {
  const touched = await db.execute(sql`
    update message set status = 'failed', failed_at = now(), hold_reason = null, due_at = null, error_code = ${code},
      error_detail = ${detail}
    where tenant_id = ${tenantId} and id = ${messageId} and status = 'queued' and chat_seq is null`)
  return touched === 1
}

/** What WhatsApp answered to an upload of this file, sealed, if that is not too old to be used for another message. */
export async function findWhatsappUpload(db: Queryable, place: UploadPlace): Promise<Buffer | undefined> {
  const [row] = await db.query<{ sealed: Buffer }>(
    sql`
      select sealed from media_upload
      where media_id = ${place.mediaId} and instance_id = ${place.instanceId} and type = ${place.type}
        and tenant_id = ${place.tenantId} and uploaded_at > now() - make_interval(days => ${UPLOAD_GOOD_DAYS})`,
    'find-whatsapp-upload',
  )
  return row?.sealed
}

export async function keepWhatsappUpload(db: Queryable, place: UploadPlace, sealed: Buffer): Promise<void> {
  await db.execute(sql`
    insert into media_upload (media_id, instance_id, type, tenant_id, sealed)
    select id, ${place.instanceId}, ${place.type}, tenant_id, ${sealed} from media
    where id = ${place.mediaId} and tenant_id = ${place.tenantId}
    on conflict (media_id, instance_id, type) do update set sealed = excluded.sealed, uploaded_at = now()`)
}

/** WhatsApp keeps what nobody has fetched for two weeks or more. */
const UPLOAD_GOOD_DAYS = 7

export interface UploadPlace {
  readonly tenantId: TenantId
  readonly instanceId: InstanceId
  readonly mediaId: MediaId
  readonly type: MediaType
}

export interface DueMedia {
  readonly id: MediaId
  readonly storageKey: string
  readonly sourceSealed: Buffer | null
  readonly mimeType: string | null
  readonly messageId: MessageId
  readonly attempts: number
}

/** Takes files of an instance whose download is due, for so long; under a lost lease none. */
export async function claimDownloads(
  db: Queryable,
  lease: Fence,
  instanceId: InstanceId,
  { limit, forMs }: { readonly limit: number; readonly forMs: number },
): Promise<DueMedia[]> {
  return db.query<DueMedia>(
    sql`
      with own as materialized (${ownLeases([lease])})
      update media set attempts = attempts + 1, next_attempt_at = now() + make_interval(secs => ${forMs / 1_000}::float8)
      where id in (
        select id from media
        where instance_id = ${instanceId} and state = 'pending' and direction = 'inbound' and next_attempt_at <= now()
          and exists (select from own)
        order by next_attempt_at, id limit ${limit} for update skip locked)
      returning id, storage_key as "storageKey", source_sealed as "sourceSealed", mime_type as "mimeType",
        message_id as "messageId", attempts`,
    'claim-downloads',
  )
}

/** Lets a download begin again after so long; one that was broken off by us does not count as a try. */
export async function postponeDownload(
  db: Queryable,
  tenantId: TenantId,
  mediaId: MediaId,
  { afterMs, counts }: { readonly afterMs: number; readonly counts: boolean },
): Promise<void> {
  await db.execute(sql`
    update media set next_attempt_at = now() + make_interval(secs => ${afterMs / 1_000}::float8),
      attempts = attempts - ${counts ? 0 : 1}
    where tenant_id = ${tenantId} and id = ${mediaId} and state = 'pending'`)
}

/** At the start of a lease nothing is under way: what a predecessor had taken is due again. */
export async function recoverDownloads(db: Queryable, lease: Fence, instanceId: InstanceId): Promise<void> {
  await db.execute(sql`
    with own as materialized (${ownLeases([lease])})
    update media set next_attempt_at = now()
    where instance_id = ${instanceId} and state = 'pending' and direction = 'inbound' and next_attempt_at > now()
      and exists (select from own)`)
}

export async function findMediaOf(
  db: Queryable,
  tenantId: TenantId,
  mediaIds: readonly MediaId[],
): Promise<MediaRow[]> {
  return db.query<MediaRow>(sql`${mediaRow} where tenant_id = ${tenantId} and id = any (${mediaIds}::uuid[])`)
}
