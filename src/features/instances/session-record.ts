/**
 * The record of one session: what it says of its instance, in memory and in the row. Every change is written with its events
 * in one fenced statement, one after another, and again while the database is away, for as long as the lease lasts.
 */
import type { Clock } from '../../kernel/clock.js'
import { type IdGenerator, publicId } from '../../kernel/ids.js'
import type { Logger } from '../../kernel/logger.js'
import type { Random } from '../../kernel/random.js'
import { type Database, sqlState } from '../../platform/database/database.js'
import { FencedError, withFence } from '../../platform/leases/fence.js'
import type { Lease } from '../../platform/leases/lease.js'
import type { EventType, NewEvent } from '../events/event.js'
import { buryCredentials } from './credentials-store.js'
import { insist } from './insist.js'
import { advance, type Happening, type InstanceRef, type InstanceState } from './instance.js'
import { type InstanceRecord, type Saved, saveRecord } from './session-store.js'

export interface Change {
  readonly happening?: Happening
  readonly patch?: Partial<Omit<InstanceRecord, 'state'>>
  readonly events?: readonly { readonly type: EventType; readonly data: Readonly<Record<string, unknown>> }[]
  /** Takes the credentials out of use, for this reason, in the same transaction. */
  readonly bury?: string
}

export interface SessionRecord {
  readonly current: InstanceRecord
  /** Throws FencedError when the lease is another's, and whatever the database last said when the lease ended meanwhile. */
  write(change: Change): Promise<void>
}

export interface SessionRecordOptions {
  readonly db: Database
  readonly clock: Clock
  readonly random: Random
  readonly ids: IdGenerator
  readonly logger: Logger
  readonly lease: Lease
  readonly owner: InstanceRef
  readonly initial: InstanceRecord
}

const UNIQUE_VIOLATION = '23505'

export function createSessionRecord(options: SessionRecordOptions): SessionRecord {
  const { db, clock, random, ids, logger, lease, owner, initial } = options
  let current = initial
  let last: Promise<unknown> = Promise.resolve()

  return {
    get current() {
      return current
    },
    write(change) {
      const written = last.then(() => writeNow(change))
      last = written.catch(() => {})
      return written
    },
  }

  async function writeNow({ happening, patch, events = [], bury }: Change): Promise<void> {
    const before = current
    const state = happening ? advance(before.state, happening, new Date(clock.now())) : before.state
    current = { ...before, ...patch, state }
    if (state !== before.state) {
      const { status, reason } = state
      logger.info('SESSION', 'status changed', { status, reason, from: before.state.status })
    }
    const news = [...events.map(({ type, data }) => newEvent(type, data)), ...statusNews(before.state, state)]
    const saved = await save(current, news, bury)
    if (saved === 'fenced') throw new FencedError(lease.resource)
  }

  async function save(record: InstanceRecord, news: readonly NewEvent[], bury: string | undefined): Promise<Saved> {
    let tries = 0
    const attempt = (): Promise<Saved> => {
      tries += 1
      if (bury === undefined) return saveRecord(db, lease, owner, record, news)
      return withFence(db, lease, async (tx) => {
        await buryCredentials(tx, owner, bury)
        return saveRecord(tx, lease, owner, record, news)
      })
    }
    try {
      return await insist(attempt, { clock, random, logger, signal: lease.signal })
    } catch (error) {
      // An earlier try had been committed after all: its events are there.
      if (tries > 1 && sqlState(error) === UNIQUE_VIOLATION) return 'saved'
      throw error
    }
  }

  function statusNews(before: InstanceState, after: InstanceState): NewEvent[] {
    if (before === after) return []
    return [
      newEvent('instance.status_changed', {
        connectionStatus: after.status,
        reason: after.reason,
        since: after.since.toISOString(),
        previousStatus: before.status,
      }),
    ]
  }

  function newEvent(type: EventType, data: Readonly<Record<string, unknown>>): NewEvent {
    const { tenantId, instanceId } = owner
    const named = { instanceId: publicId('ins', instanceId), ...data }
    return { id: ids.next('evt'), tenantId, type, instanceId, subjectId: instanceId, data: named }
  }
}
