/** The process table: who is running, and the advisory locks that prove it. */
import sql from 'sql-template-tag'
import type { Queryable } from '../database/database.js'
import { heldLocks } from '../database/held-locks.js'
import type { Incarnation } from './lease.js'

export interface ProcessRow {
  readonly incarnation: Incarnation
  /** Null: this process holds no advisory lock. */
  readonly lock: bigint | null
  readonly replica: string
  readonly role: string
  readonly slot: number
  readonly version: string
}

/**
 * Shared, so that a process which reconnects gets it at once even while the server still believes in its broken session.
 * Others never lock it: they look into pg_locks.
 */
export async function lockIncarnation(session: Queryable, lock: bigint): Promise<void> {
  await session.query(sql`select pg_advisory_lock_shared(${lock})`)
}

export async function probeSession(session: Queryable): Promise<void> {
  await session.query(sql`select 1`)
}

/** Idempotent: somebody may have cleaned the row away while this process had no session. */
export async function insertProcess(db: Queryable, row: ProcessRow): Promise<void> {
  await db.execute(sql`
    insert into process (incarnation, incarnation_lock, replica, role, slot, version)
    values (${row.incarnation}, ${row.lock}, ${row.replica}, ${row.role}, ${row.slot}, ${row.version})
    on conflict (incarnation) do nothing`)
}

/** Leaves the row while a lease names it: without the row nobody could tell that the holder has gone. */
export async function deleteProcess(db: Queryable, incarnation: Incarnation): Promise<void> {
  await db.execute(sql`
    delete from process where incarnation = ${incarnation} and not exists (select from lease where holder = ${incarnation})`)
}

/**
 * Deletes rows of processes that are gone and hold nothing: those whose lock is free, and those without a lock that this
 * process has replaced.
 */
export async function deleteGoneProcesses(db: Queryable, self: ProcessRow): Promise<void> {
  await db.execute(sql`
    delete from process p
    where p.incarnation <> ${self.incarnation}
      and not exists (select from lease l where l.holder = p.incarnation)
      and case when p.incarnation_lock is null
        then p.replica = ${self.replica} and p.role = ${self.role} and p.slot = ${self.slot}
        else not exists (select from (${heldLocks}) as held where held.lock = p.incarnation_lock) end`)
}
