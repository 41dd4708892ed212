/**
 * Downloads the files of messages that came in, while the number is connected: some at a time, each tried again until it is
 * here or will not come. The message is long stored and told; `media.ready` follows, or `media.failed`. What a replica leaves
 * half done, the next holder of the number does again.
 */

import { createBell } from '../../kernel/bell.js'
import type { Clock } from '../../kernel/clock.js'
import { AppError } from '../../kernel/errors.js'
import type { IdGenerator, InstanceId } from '../../kernel/ids.js'
import { errorText, type Logger } from '../../kernel/logger.js'
import type { Database } from '../../platform/database/database.js'
import type { MediaStorage } from '../../platform/media/media.js'
import { MediaError } from '../../platform/whatsapp/whatsapp.js'
import { record } from '../events/record.js'
import type { SessionAttachment, SessionContext } from '../instances/session-attachment.js'
import { type DataKeys, openFor } from '../tenants/data-keys.js'
import { mediaSourcePlace } from './media.js'
import {
  claimDownloads,
  type DueMedia,
  findMedia,
  markFailed,
  markStored,
  postponeDownload,
  recoverDownloads,
} from './media-store.js'
import { storeMedia } from './store-media.js'

export interface MediaDownloadsOptions {
  readonly db: Database
  readonly ids: IdGenerator
  readonly storage: MediaStorage
  readonly dataKeys: Pick<DataKeys, 'dataKey'>
  readonly clock: Pick<Clock, 'now'>
  readonly logger: Logger
  /** Our own limit for any file. */
  readonly maxBytes: number
  /** Files of one number at once. @default 3 */
  readonly concurrency?: number
  /** A look at the table even when nothing was heard, in ms. @default 5,000 */
  readonly pollEveryMs?: number
  /** After a try that failed, in ms; after the last one the file is given up. */
  readonly retryDelaysMs?: readonly number[]
  /** After a try that the storage did not take, in ms: it is no fault of the file and counts as none. @default 20,000 */
  readonly storageRetryMs?: number
}

export interface MediaDownloads extends SessionAttachment {
  /** Messages with files were stored for this instance. */
  wake(instanceId: InstanceId): void
}

const MINUTE = 60_000
/** Over days: the phone that must send an old file again may be off. */
const RETRY_DELAYS_MS = [5_000, 30_000, 2 * MINUTE, 10 * MINUTE, 60 * MINUTE, 6 * 60 * MINUTE, 24 * 60 * MINUTE]
/** A download that lasts longer is begun again by whoever looks. */
const CLAIM_MS = 30 * MINUTE

/** What became of a try. */
type Ending = { readonly failed: string } | { readonly again: string } | 'without storage'

export function createMediaDownloads(options: MediaDownloadsOptions): MediaDownloads {
  const { db, ids, storage, dataKeys, clock, logger, maxBytes } = options
  const { concurrency = 3, pollEveryMs = 5_000, retryDelaysMs = RETRY_DELAYS_MS, storageRetryMs = 20_000 } = options
  const bells = new Map<InstanceId, () => void>()

  return {
    wake: (instanceId) => bells.get(instanceId)?.(),
    acquired: (lease, _tenantId, instanceId) => recoverDownloads(db, lease, instanceId),
    opened(session) {
      drain(session).catch((error: unknown) => {
        logger.error('SESSION', 'downloads stopped', { instance: session.instanceId, error: errorText(error) })
      })
    },
  }

  async function drain(session: SessionContext): Promise<void> {
    const bell = createBell(session.signal)
    const underway = new Set<Promise<void>>()
    bells.set(session.instanceId, bell.ring)
    const timer = setInterval(bell.ring, pollEveryMs)
    try {
      while (!session.signal.aborted) {
        for (const due of await claim(session, concurrency - underway.size)) {
          const work = downloadOne(session, due).finally(() => {
            underway.delete(work)
            bell.ring()
          })
          underway.add(work)
        }
        await bell.rung()
      }
    } finally {
      clearInterval(timer)
      if (bells.get(session.instanceId) === bell.ring) bells.delete(session.instanceId)
    }
  }

  async function claim({ lease, instanceId }: SessionContext, limit: number): Promise<DueMedia[]> {
    if (limit <= 0 || !lease.isTrusted()) return []
    try {
      return await claimDownloads(db, lease, instanceId, { limit, forMs: CLAIM_MS })
    } catch (error) {
      // The database is away: the next look comes soon.
      logger.warn('SESSION', 'cannot look for files', { instance: instanceId, reason: errorText(error) })
      return []
    }
  }

  /** Never rejects: what cannot be written now is due again when its claim has run out. */
  async function downloadOne(session: SessionContext, due: DueMedia): Promise<void> {
    const about = { instance: session.instanceId, mediaId: due.id, messageId: due.messageId }
    try {
      const ending = await attempt(session, due)
      if (ending) await settle(session, due, ending)
    } catch (error) {
      logger.warn('SESSION', 'a file could not be stored', { ...about, reason: errorText(error) })
      const { tenantId } = session
      await postponeDownload(db, tenantId, due.id, { afterMs: retryDelaysMs[0] ?? 0, counts: false }).catch(
        () => undefined,
      )
    }
  }

  /** Undefined: it is here. Rejects for what is no fault of the file. */
  async function attempt(session: SessionContext, due: DueMedia): Promise<Ending | undefined> {
    const { tenantId, instanceId, connection, signal } = session
    if (!due.sourceSealed || !connection.downloadMedia) return { failed: 'media_unavailable' }
    const place = mediaSourcePlace({ tenantId, instanceId, mediaId: due.id })
    const source = openFor(await dataKeys.dataKey(tenantId, instanceId), place, due.sourceSealed)
    try {
      const stored = await storeMedia(storage, {
        key: due.storageKey,
        content: connection.downloadMedia(source, { signal }),
        statedMime: due.mimeType ?? undefined,
        lies: 'correct',
        maxBytes,
      })
      const isKept = await db.tx(async (tx) => {
        if (!(await markStored(tx, tenantId, due.id, stored))) return false
        await tell(tx, session, due, 'media.ready')
        return true
      })
      // Deleted while it came.
      if (!isKept && !(await findMedia(db, tenantId, due.id))) await storage.remove(due.storageKey)
      return undefined
    } catch (error) {
      if (error instanceof MediaError) {
        return error.code === 'expired' ? { failed: 'media_expired' } : { again: `media_${error.code}` }
      }
      if (error instanceof AppError && (error.code === 'media_too_large' || error.code === 'media_empty')) {
        return { failed: error.code }
      }
      if (error instanceof AppError && error.code === 'storage_unavailable') return 'without storage'
      throw error
    }
  }

  async function settle(session: SessionContext, due: DueMedia, ending: Ending): Promise<void> {
    const { tenantId, signal } = session
    if (signal.aborted) return postponeDownload(db, tenantId, due.id, { afterMs: 0, counts: false })
    if (ending === 'without storage') {
      return postponeDownload(db, tenantId, due.id, { afterMs: storageRetryMs, counts: false })
    }
    const afterMs = retryDelaysMs[due.attempts - 1]
    if ('again' in ending && afterMs !== undefined) {
      return postponeDownload(db, tenantId, due.id, { afterMs, counts: true })
    }
    const code = 'failed' in ending ? ending.failed : ending.again
    await db.tx(async (tx) => {
      if (await markFailed(tx, tenantId, due.id, code)) await tell(tx, session, due, 'media.failed')
    })
  }

  async function tell(
    tx: Parameters<typeof record>[0],
    { tenantId, instanceId }: SessionContext,
    { id }: DueMedia,
    type: 'media.ready' | 'media.failed',
  ): Promise<void> {
    const data = { at: new Date(clock.now()).toISOString() }
    await record(tx, [{ id: ids.next('evt'), tenantId, type, instanceId, subjectId: id, data }])
  }
}
