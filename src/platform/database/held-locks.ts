import sql from 'sql-template-tag'

/**
 * A select of the session-level advisory locks that are held in this database, as the one column `lock`, a bigint. Processes of
 * Mirante hold one each (`process.incarnation_lock`): whose lock is among them is alive. Looked up and never tried: who tries a
 * lock holds it for a moment, and others would take the dead for living.
 */
export const heldLocks = sql`
  select (classid::bigint << 32) | objid::bigint as lock from pg_locks
  where locktype = 'advisory' and objsubid = 1 and granted
    and database = (select oid from pg_database where datname = current_database())`
