import sql from 'sql-template-tag'
import type { Queryable } from '../../src/platform/database/database.js'

/**
 * Pages of our own tables and indexes that this transaction has read: the work of a statement, whatever the machine does
 * meanwhile. Catalogues do not count: what is read of them depends on what the connection has seen before.
 */
export async function pagesTouched(tx: Pick<Queryable, 'query'>): Promise<number> {
  await tx.query(sql`select pg_stat_clear_snapshot()`)
  const [row] = await tx.query<{ pages: number }>(sql`
    select (sum(pg_stat_get_xact_blocks_fetched(oid)))::int as pages from pg_class
    where relkind in ('r', 'i') and relnamespace = 'public'::regnamespace`)
  return row?.pages ?? 0
}
