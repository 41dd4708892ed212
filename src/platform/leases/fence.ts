/**
 * The fence: what a lease's holder writes, it writes in a statement or transaction that first locks the lease row under its
 * own epoch and token. A holder that was taken over writes nothing, however late it wakes up.
 *
 * The lock is `FOR SHARE`, and neither weaker nor absent: a takeover updates the row without touching its key, which takes
 * `FOR NO KEY UPDATE`. That waits for `FOR SHARE`, so a takeover and a fenced write of the old holder never overlap; it does
 * not wait for `FOR KEY SHARE`, and the old holder's write would then be committed after the takeover. A fenced statement
 * that waits for a takeover looks at the row again when it is let in, finds another epoch, and writes nothing.
 *
 * The row stays locked until the end of the transaction, so a batch is best one autocommitted statement.
 */
import sql, { type Sql } from 'sql-template-tag'
import { AppError } from '../../kernel/errors.js'
import type { Database, Tx } from '../database/database.js'
import type { Fence, Resource } from './lease.js'

/** Another process holds the resource now. Nothing was written; nothing may be retried under this lease. */
export class FencedError extends AppError {
  readonly resource: Resource

  constructor(resource: Resource) {
    super('lease_lost')
    this.name = 'FencedError'
    this.resource = resource
  }
}

/** Runs `work` in a transaction that only commits for the holder. Throws FencedError. Nothing but SQL may be awaited in it. */
export function withFence<Result>(db: Database, fence: Fence, work: (tx: Tx) => Promise<Result>): Promise<Result> {
  return db.tx(async (tx) => {
    const own = await tx.query(ownLeases([fence]), 'lease-fence')
    if (own.length === 0) throw new FencedError(fence.resource)
    return work(tx)
  })
}

/**
 * The body of a CTE for statements that write for many leases at once. It locks those of `fences` that are still held, in the
 * order of their resource (as renewals do, so the two cannot deadlock), and returns their `resource`. Rows of the others are
 * simply not written; who is missing from what the statement returns has been fenced:
 *
 * ```ts
 * const written = await db.query<{ resource: Resource }>(sql`
 *   with own as materialized (${ownLeases(leases)}),
 *   given as (select * from unnest(${resources}::text[], ${ids}::text[], ${values}::bytea[]) as g (resource, id, value)),
 *   saved as (
 *     insert into some_table (id, value) select given.id, given.value from own join given using (resource)
 *     on conflict (id) do update set value = excluded.value
 *   )
 *   select resource from own`)
 * ```
 *
 * The CTE must be `materialized`, and the statement must read it: PostgreSQL does not run a CTE that nobody reads. Each
 * resource may occur once in `fences`.
 */
export function ownLeases(fences: readonly Fence[]): Sql {
  return sql`${leasesOf(fences)} for share of lease`
}

/** The rows of those of `fences` that are still held, in locking order; the caller adds the lock. */
export function leasesOf(fences: readonly Fence[]): Sql {
  const resources = fences.map(({ resource }) => resource)
  const epochs = fences.map(({ epoch }) => epoch)
  const tokens = fences.map(({ token }) => token)
  return sql`
    select lease.resource
    from unnest(${resources}::text[], ${epochs}::bigint[], ${tokens}::uuid[]) as fence (resource, epoch, token)
    join lease using (resource, epoch, token)
    -- Said again, so that a kept plan enters the table by its key, however few leases there were when it was made.
    where lease.resource = any (${resources}::text[])
    order by lease.resource`
}
