/**
 * Ingests what was received but never became a message: the process died, or the ingest failed, between the raw entry and
 * its message. Applies receipts that were kept and not applied, too. Works from stanza and plaintext alone, so it needs no
 * connection, and no lease either: storing a message twice stores it once. Any gateway sweeps for all instances.
 */
import type { Clock } from '../../kernel/clock.js'
import type { IdGenerator, InstanceId } from '../../kernel/ids.js'
import { errorText, type Logger } from '../../kernel/logger.js'
import type { Random } from '../../kernel/random.js'
import type { Service } from '../../kernel/service.js'
import { type Database, isDatabaseUnavailable } from '../../platform/database/database.js'
import type { InboundMessage, Provider, RawReading } from '../../platform/whatsapp/whatsapp.js'
import { rawPlace } from '../instances/credentials.js'
import type { SessionAttachment } from '../instances/session-attachment.js'
import { type DataKeys, openFor } from '../tenants/data-keys.js'
import type { InboxOwner, Ingest } from './ingest-message.js'
import { type OpenRaw, openRawRows, settleRaw } from './ingest-store.js'
import { sweepReceipts } from './sweep-receipts.js'

export interface RawSweepOptions {
  readonly db: Database
  readonly ids: IdGenerator
  readonly dataKeys: DataKeys
  readonly ingest: Ingest
  readonly provider: Pick<Provider, 'readRaw'>
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly everyMs?: number
  /** Younger entries are still on their way through the session. */
  readonly olderThanMs?: number
}

export interface RawSweep extends Service, Pick<SessionAttachment, 'acquired'> {
  /** Sweeps now. Resolves to how many entries were settled. */
  sweep(): Promise<number>
}

const BATCH = 200
const JITTER = 0.2

export function createRawSweep(options: RawSweepOptions): RawSweep {
  const { db, ids, dataKeys, ingest, provider, clock, random, logger, everyMs = 10_000, olderThanMs = 10_000 } = options
  const stopping = new AbortController()
  let running: Promise<void> | undefined

  return {
    sweep: () => sweepAll({ olderThanMs }),
    /** Before the next connection brings newer messages: so a chat keeps its order over a crash. */
    async acquired(_lease, _tenantId, instanceId) {
      await sweepAll({ olderThanMs: 0, instanceId })
    },
    async start() {
      running ??= loop()
    },
    async stop() {
      stopping.abort()
      await running
    },
  }

  async function loop(): Promise<void> {
    while (!stopping.signal.aborted) {
      const pauseMs = everyMs * (1 + JITTER * (2 * random() - 1))
      await clock.sleep(pauseMs, stopping.signal).catch(() => undefined)
      if (stopping.signal.aborted) return
      await sweepAll({ olderThanMs }).catch((error: unknown) => {
        logger.warn('SESSION', 'the sweep of raw entries failed', { reason: errorText(error) })
      })
    }
  }

  /** Messages first: a receipt may be of one of them. */
  async function sweepAll(where: { olderThanMs: number; instanceId?: InstanceId }): Promise<number> {
    const settled = await sweepWhere(where)
    return settled + (await sweepReceipts({ db, ids }, where))
  }

  async function sweepWhere(where: { olderThanMs: number; instanceId?: InstanceId }): Promise<number> {
    let settled = 0
    let refused = 0
    for (;;) {
      // What cannot be settled stays open, in front: it is passed over, so that it holds nobody up.
      const rows = await openRawRows(db, { ...where, skip: refused, limit: BATCH })
      const settledNow = await settleAll(rows)
      settled += settledNow
      refused += rows.length - settledNow
      if (rows.length < BATCH) return settled
    }
  }

  /** Many messages of an instance in one statement: a takeover waits for it. Resolves to how many rows were settled. */
  async function settleAll(rows: readonly OpenRaw[]): Promise<number> {
    const inboxes = new Map<InstanceId, Inbox>()
    let settled = 0
    for (const row of rows) {
      const reading = await read(row)
      if (reading?.kind === 'other') {
        await settleRaw(db, row, { encHash: row.encHash, as: reading.as })
        settled += 1
      }
      if (reading?.kind !== 'message') continue
      const inbox = inboxes.get(row.instanceId) ?? { owner: { ...ownerOf(row), fence: null }, messages: [] }
      inboxes.set(row.instanceId, inbox)
      inbox.messages.push({ ...reading.message, encHashes: [row.encHash] })
    }
    for (const inbox of inboxes.values()) settled += await ingestAll(inbox)
    return settled
  }

  async function ingestAll({ owner, messages }: Inbox): Promise<number> {
    const about = { instance: owner.instanceId, count: messages.length }
    try {
      await ingest.ingest(owner, messages)
      logger.info('SESSION', 'ingested messages from their raw entries', about)
      return messages.length
    } catch (error) {
      // Not the entries' fault, and others would fare no better.
      if (isDatabaseUnavailable(error)) throw error
      logger.error('SESSION', 'raw entries cannot be ingested', { ...about, error: errorText(error) })
      return 0
    }
  }

  /** Undefined: it cannot be read. */
  async function read(row: OpenRaw): Promise<RawReading | undefined> {
    const { tenantId, instanceId, encHash } = row
    try {
      const key = await dataKeys.dataKey(tenantId, instanceId)
      return await provider.readRaw(openFor(key, rawPlace(row, encHash), row.sealed))
    } catch (error) {
      // Not the entry's fault, and the others would fare no better.
      if (isDatabaseUnavailable(error)) throw error
      logger.error('SESSION', 'a raw entry cannot be read', { instance: instanceId, error: errorText(error) })
      return undefined
    }
  }
}

interface Inbox {
  readonly owner: InboxOwner
  readonly messages: InboundMessage[]
}

const ownerOf = ({ tenantId, instanceId }: OpenRaw) => ({ tenantId, instanceId })
