/** The schedule table: which tick of each cron task was done last, and who is at the next one. */
import sql from 'sql-template-tag'
import type { Queryable } from '../database/database.js'

export interface ScheduleRow {
  readonly name: string
  readonly lastDueAt: Date
}

/** A task that is new begins with the first tick after now. */
export async function ensureSchedule(db: Queryable, name: string, now: Date): Promise<void> {
  await db.execute(sql`insert into schedule (name, last_due_at) values (${name}, ${now}) on conflict do nothing`)
}

export async function findSchedules(db: Queryable, names: readonly string[]): Promise<ScheduleRow[]> {
  return db.query<ScheduleRow>(sql`
    select name, last_due_at as "lastDueAt" from schedule where name = any (${names})`)
}

export interface TickClaim {
  readonly name: string
  readonly token: string
}

/** Compare-and-swap on the last tick seen; false when somebody else is at it or has done it. */
export async function claimTick(
  db: Queryable,
  { name, token }: TickClaim,
  { seen, claimMs }: { seen: Date; claimMs: number },
): Promise<boolean> {
  const claimed = await db.execute(sql`
    update schedule set token = ${token}, running_until = now() + ${claimMs} * interval '1 ms'
    where name = ${name} and last_due_at = ${seen} and (running_until is null or running_until < now())`)
  return claimed > 0
}

export async function extendTick(db: Queryable, { name, token }: TickClaim, claimMs: number): Promise<boolean> {
  const extended = await db.execute(sql`
    update schedule set running_until = now() + ${claimMs} * interval '1 ms' where name = ${name} and token = ${token}`)
  return extended > 0
}

export async function finishTick(db: Queryable, { name, token }: TickClaim, dueAt: Date): Promise<void> {
  await db.execute(sql`
    update schedule set last_due_at = ${dueAt}, token = null, running_until = null
    where name = ${name} and token = ${token}`)
}

/** The tick stays due, for whoever comes after `pauseMs`. */
export async function failTick(db: Queryable, { name, token }: TickClaim, pauseMs: number): Promise<void> {
  await db.execute(sql`
    update schedule set token = null, running_until = now() + ${pauseMs} * interval '1 ms'
    where name = ${name} and token = ${token}`)
}
