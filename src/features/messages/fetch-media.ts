/**
 * The job `fetch-media`: gets the file of a message from its link, through the guard against requests to inner networks,
 * stores it, and lets the message into its lane; or fails the message with a code that says why the file could not be had.
 * Run again it finds what was done: a file that is stored is not fetched twice.
 */
import type { Clock } from '../../kernel/clock.js'
import { AppError } from '../../kernel/errors.js'
import type { IdGenerator, MediaId, TenantId } from '../../kernel/ids.js'
import { errorText, type Logger } from '../../kernel/logger.js'
import type { Database, Tx } from '../../platform/database/database.js'
import { EgressError } from '../../platform/egress/egress-error.js'
import type { Download, Egress } from '../../platform/egress/http-client.js'
import { done, type Fate, type JobHandler, type JobPolicy, retry, snooze } from '../../platform/jobs/jobs.js'
import type { MediaStorage } from '../../platform/media/media.js'
import { record } from '../events/record.js'
import { findPlace, lockLanesOf, lockMessage, requeueMessage, ringInstance } from './cancel-resend-store.js'
import { assertFits, maxBytesFor } from './media.js'
import { fileOf } from './media-for.js'
import { type AwaitedMedia, failHeldMessage, findAwaited, markFailed, markStored } from './media-store.js'
import { noteStep } from './step-store.js'
import { storeMedia } from './store-media.js'

export interface FetchMediaDeps {
  readonly db: Database
  readonly ids: IdGenerator
  readonly egress: Pick<Egress, 'download'>
  readonly storage: MediaStorage
  readonly clock: Pick<Clock, 'now'>
  readonly logger: Logger
  /** Our own limit for any file. */
  readonly maxBytes: number
}

export const fetchMediaPolicy: JobPolicy = {
  maxAttempts: 4,
  retryDelaysMs: [2_000, 15_000, 60_000],
  timeoutMs: 10 * 60_000,
  concurrency: 4,
}

const STORAGE_RETRY_MS = 20_000
const HEADERS = { 'user-agent': 'Mirante', accept: '*/*' }

interface Failure {
  readonly code: string
  readonly detail: string
  /** Whether it may be different next time. */
  readonly passing: boolean
}

export function createFetchMedia(deps: FetchMediaDeps): JobHandler {
  const { db, ids, egress, storage, clock, logger } = deps

  return async function fetchMedia(job, signal): Promise<Fate> {
    const mediaId = job.id as MediaId
    const awaited = await findAwaited(db, job.tenantId, mediaId)
    if (!awaited) return done()
    try {
      const stored = await fetchFile(awaited, signal)
      await db.tx(async (tx) => {
        // Not if another try of the same job has come first: the message has its place in the lane already.
        if (await markStored(tx, job.tenantId, mediaId, stored)) await release(tx, job.tenantId, awaited)
      })
      return done()
    } catch (error) {
      // No fault of the link: the message waits, and the try counts as none.
      if (isWithoutStorage(error)) return snooze(new Date(clock.now() + STORAGE_RETRY_MS))
      const failure = failureOf(error)
      if (!failure) throw error
      if (failure.passing && job.attempt < fetchMediaPolicy.maxAttempts) return retry(failure.code)
      logger.info('JOB', 'a file could not be fetched', {
        ...{ tenantId: job.tenantId, mediaId, messageId: awaited.messageId, code: failure.code },
        reason: errorText(error),
      })
      await db.tx((tx) => giveUp(tx, job.tenantId, mediaId, awaited, failure))
      return done()
    }
  }

  async function fetchFile({ content, storageKey }: AwaitedMedia, signal: AbortSignal) {
    const file = fileOf(content)
    if (file?.link === undefined) throw new AppError('media_unavailable')
    const { type } = file
    const limit = maxBytesFor(type, deps.maxBytes)
    const download = await egress.download(file.link, { headers: HEADERS, signal })
    try {
      assertAnswered(download, limit)
      return await storeMedia(storage, {
        key: storageKey,
        content: download.content,
        // As a picture, a film or a sound it is judged by its bytes; servers often do not know what they serve.
        statedMime: type === 'document' ? download.headers['content-type'] : undefined,
        maxBytes: limit,
        assertMime: (mimeType) => assertFits(type, { mimeType, size: 0 }, file),
      })
    } catch (error) {
      download.discard()
      throw error
    }
  }

  async function release(tx: Tx, tenantId: TenantId, { messageId }: AwaitedMedia): Promise<void> {
    const place = await findPlace(tx, tenantId, messageId)
    if (!place) return
    await lockLanesOf(tx, tenantId, [place.chatId, place.laneId])
    const message = await lockMessage(tx, tenantId, messageId)
    // Taken back meanwhile, or ended with its instance.
    if (message?.status !== 'queued') return
    await noteStep(tx, tenantId, { messageId, attempt: message.attempts, step: 'released' })
    await requeueMessage(tx, tenantId, { messageId, laneId: place.laneId })
    await ringInstance(tx, message.instanceId)
  }

  async function giveUp(
    tx: Tx,
    tenantId: TenantId,
    mediaId: MediaId,
    { messageId, instanceId }: AwaitedMedia,
    { code, detail }: Failure,
  ): Promise<void> {
    await markFailed(tx, tenantId, mediaId, code)
    if (!(await failHeldMessage(tx, tenantId, messageId, { code, detail }))) return
    const data = { status: 'failed', errorCode: code }
    await record(tx, [
      { id: ids.next('evt'), tenantId, type: 'message.failed', instanceId, subjectId: messageId, data },
    ])
  }
}

class LinkError extends Error {
  readonly status: number

  constructor(status: number) {
    super(`the link was answered with ${status}`)
    this.name = 'LinkError'
    this.status = status
  }
}

function assertAnswered({ status, headers }: Download, limit: number): void {
  if (status !== 200) throw new LinkError(status)
  if (Number(headers['content-length'] ?? 0) > limit) {
    throw new AppError('media_too_large', { detail: `The limit is ${limit} bytes.` })
  }
}

/** Undefined for what is no fault of the link: the database, say. */
function failureOf(error: unknown): Failure | undefined {
  if (error instanceof LinkError) {
    const { status } = error
    const detail = `The server of the link answered with ${status}.`
    return { code: 'media_link_refused', detail, passing: status >= 500 || status === 429 || status === 408 }
  }
  if (error instanceof EgressError) {
    const isOurs = error.code === 'refused_url' || error.code === 'refused_address'
    return {
      code: isOurs ? 'media_link_forbidden' : 'media_link_unreachable',
      detail: error.message,
      passing: !isOurs && error.code !== 'too_large',
    }
  }
  if (error instanceof AppError && error.code.startsWith('media_')) {
    return { code: error.code, detail: error.detail ?? error.message, passing: false }
  }
  return undefined
}

const isWithoutStorage = (error: unknown): boolean => error instanceof AppError && error.code === 'storage_unavailable'
