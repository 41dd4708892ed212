/**
 * The identity of one process from its start to its end: a random id, a row in `process` that says who that is, and an
 * advisory lock that is held exactly as long as the process lives. When the lock is free, the process is dead, and others need
 * not wait for the TTL of its leases.
 *
 * The session that holds the lock may break while the process lives (a restart of PostgreSQL, a lost connection). It is opened
 * again at once and for ever; others only believe in a death that they saw at two polls in a row.
 */
import { randomUUID } from 'node:crypto'
import { backoffMs } from '../../kernel/backoff.js'
import type { Clock } from '../../kernel/clock.js'
import { sha256 } from '../../kernel/crypto.js'
import { errorText, type Logger } from '../../kernel/logger.js'
import type { Random } from '../../kernel/random.js'
import type { Service } from '../../kernel/service.js'
import type { Database, DedicatedSession } from '../database/database.js'
import { alarmsOf, within } from './alarm.js'
import type { Incarnation } from './lease.js'
import { deleteGoneProcesses, deleteProcess, insertProcess, lockIncarnation, probeSession } from './process-store.js'

export interface IncarnationOptions {
  readonly db: Database
  /** REPLICA_NAME: with role and slot, the name that people know this process by. */
  readonly replica: string
  readonly role: string
  readonly slot: number
  readonly version: string
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  /** False behind a transaction pooler: no lock is held, and the TTL alone decides. Default: true. */
  readonly advisoryLocks?: boolean
}

export interface IncarnationService extends Service {
  readonly id: Incarnation
}

/** Quick, since others give a living process only `goneMs` (1 s) to take its lock again. */
const RECONNECT = { baseMs: 50, factor: 1.5, maxMs: 250, jitter: 0.2 }
/** How often the session is tried, so that one which broke without a word is noticed. */
const PROBE_EVERY_MS = 2_000
const ANSWER_TIMEOUT_MS = 2_000

interface LockSession {
  readonly session: DedicatedSession
  /** Aborted with the error when the session breaks. */
  readonly broken: AbortSignal
}

/** `start` rejects when the database does not answer: before it has resolved, no lease may be taken under this id. */
export function createIncarnation(options: IncarnationOptions): IncarnationService {
  const { db, replica, role, slot, version, clock, random, logger, advisoryLocks = true } = options
  const id = randomUUID() as Incarnation
  const lock = advisoryLocks ? sha256(id).readBigInt64BE() : null
  const row = { incarnation: id, lock, replica, role, slot, version }
  const setAlarm = alarmsOf(clock)
  const stopped = new AbortController()
  let holding: Promise<void> | undefined

  return {
    id,
    async start() {
      if (lock === null) await insertProcess(db, row)
      else holding = holdForEver(await connect(lock), lock)
      await deleteGoneProcesses(db, row)
    },
    async stop() {
      if (stopped.signal.aborted) return
      await within(setAlarm, ANSWER_TIMEOUT_MS, deleteProcess(db, id)).catch(() => {})
      stopped.abort()
      await holding
    },
  }

  async function holdForEver(first: LockSession, key: bigint): Promise<void> {
    for (let held: LockSession | undefined = first; held; held = await reconnect(key)) {
      const error = await untilBroken(held)
      const closed = within(setAlarm, ANSWER_TIMEOUT_MS, held.session.release()).catch(() => {})
      if (stopped.signal.aborted) return closed
      logger.warn('LEASE', 'the session that proves this process alive has broken', { error: errorText(error) })
    }
  }

  /** Resolves to why the session is over. */
  async function untilBroken({ session, broken }: LockSession): Promise<unknown> {
    const over = AbortSignal.any([broken, stopped.signal])
    for (;;) {
      await clock.sleep(PROBE_EVERY_MS, over).catch(() => {})
      if (over.aborted) return over.reason
      try {
        await within(setAlarm, ANSWER_TIMEOUT_MS, probeSession(session))
      } catch (error) {
        return error
      }
    }
  }

  async function reconnect(key: bigint): Promise<LockSession | undefined> {
    for (let attempt = 0; !stopped.signal.aborted; attempt++) {
      try {
        const session = await connect(key)
        logger.info('LEASE', 'this process is proved alive again')
        return session
      } catch {
        await clock.sleep(backoffMs(attempt, RECONNECT, random), stopped.signal).catch(() => {})
      }
    }
    return undefined
  }

  /** The lock comes before the row: a row whose lock is free means a dead process. */
  async function connect(key: bigint): Promise<LockSession> {
    const broken = new AbortController()
    const session = await db.session((error) => broken.abort(error))
    try {
      await lockIncarnation(session, key)
      await insertProcess(session, row)
      return { session, broken: broken.signal }
    } catch (error) {
      void session.release().catch(() => {})
      throw error
    }
  }
}
