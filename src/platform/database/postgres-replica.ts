/**
 * Reads from a replica where it shows enough, and from the primary where it does not, or where anything goes wrong.
 *
 * Promises: an answer shows everything that was committed `maxLagMs` before the request, and everything that the tenant has
 * changed through this process (`noteChange`). A server that is no standby of this cluster is never read from.
 */
import type { Clock } from '../../kernel/clock.js'
import type { TenantId } from '../../kernel/ids.js'
import { alarmsOf, within } from '../leases/alarm.js'
import type { Database } from './database.js'
import { createFreshness } from './freshness.js'
import { hostQuestion } from './postgres-watch.js'
import type { HostAnswer } from './primary.js'
import { type Reader, readerOf } from './reader.js'

export interface ReplicaOptions {
  readonly primary: Database
  readonly replica: Database
  readonly maxLagMs: number
  readonly clock: Clock
}

export interface Replica {
  readonly reader: Reader
  /** The tenant has changed something: what it reads from now on shows that. */
  noteChange(tenantId: TenantId): void
  /** Asks both now, whatever has gone wrong before. Rejects when one of them does not answer. */
  compare(): Promise<Comparison>
}

export interface Comparison {
  readonly primary: HostAnswer
  readonly replica: HostAnswer
}

/** Why a server is not to be read from, whatever it shows. */
export type Misfit = 'not_a_replica' | 'other_cluster'

const ANSWER_MS = 1_000
/** After a failure the primary alone is asked for this long. */
const AVOID_MS = 2_000

/** Pure. */
export function misfitOf({ primary, replica }: Comparison): Misfit | undefined {
  if (replica.systemId !== primary.systemId) return 'other_cluster'
  return replica.recovering ? undefined : 'not_a_replica'
}

export function createReplica({ primary, replica, maxLagMs, clock }: ReplicaOptions): Replica {
  const setAlarm = alarmsOf(clock)
  const freshness = createFreshness()
  /** By tenant, the latest last; only those that a read within `maxLagMs` could miss. */
  const changes = new Map<TenantId, number>()
  const fromPrimary = readerOf(primary)
  const fromReplica = readerOf(replica)
  let looking: { readonly since: number; readonly done: Promise<void> } | undefined
  let avoidUntil = Number.NEGATIVE_INFINITY

  return {
    reader: {
      tenantTx: (tenantId, work) => route(tenantId, (reader) => reader.tenantTx(tenantId, work)),
      asSystem: (tenantId, work) => route(tenantId, (reader) => reader.asSystem(tenantId, work)),
    },
    noteChange(tenantId) {
      const now = clock.mono()
      changes.delete(tenantId)
      changes.set(tenantId, now)
      for (const [other, changedAt] of changes) {
        if (changedAt > now - maxLagMs) break
        changes.delete(other)
      }
    },
    compare,
  }

  async function route<Result>(tenantId: TenantId, read: (reader: Reader) => Promise<Result>): Promise<Result> {
    if (!(await showsEnough(tenantId))) return read(fromPrimary)
    try {
      return await read(fromReplica)
    } catch {
      // It may be the replica (gone, or replay needs the rows that were read), or a row that it does not have yet; where it is
      // neither, the primary says the same.
      return read(fromPrimary)
    }
  }

  async function showsEnough(tenantId: TenantId): Promise<boolean> {
    const now = clock.mono()
    if (now < avoidUntil) return false
    const needed = Math.max(now - maxLagMs, changes.get(tenantId) ?? Number.NEGATIVE_INFINITY)
    if (freshness.visibleUntil >= needed) return true
    await lookSince(needed)
    return freshness.visibleUntil >= needed && clock.mono() >= avoidUntil
  }

  /** One question at a time, for all who wait for it. One that began before the needed moment may show too little. */
  async function lookSince(needed: number): Promise<void> {
    if (looking && looking.since < needed) await looking.done
    looking ??= { since: clock.mono(), done: look() }
    await looking.done
  }

  async function look(): Promise<void> {
    const since = clock.mono()
    try {
      const both = await compare()
      if (misfitOf(both)) throw new Error('not a replica of this primary')
      freshness.notePrimary(since, both.primary.timeline ?? 0, both.primary.position)
      freshness.noteReplica(both.replica.position)
    } catch {
      avoidUntil = clock.mono() + AVOID_MS
    } finally {
      looking = undefined
    }
  }

  /** The primary first, so that a replica which keeps up has replayed what it said. */
  async function compare(): Promise<Comparison> {
    const ask = async (db: Database): Promise<HostAnswer> => {
      const [answer] = await within(setAlarm, ANSWER_MS, db.query<HostAnswer>(hostQuestion, 'what-are-you'))
      if (!answer) throw new Error('the database did not say what it is')
      return answer
    }
    const answer = await ask(primary)
    return { primary: answer, replica: await ask(replica) }
  }
}
