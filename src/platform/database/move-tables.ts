/** What there is to move, as the catalogue of a database tells it, and how two copies of it are compared. */
import sql, { raw } from 'sql-template-tag'
import type { Queryable } from './database.js'
import { heldLocks } from './held-locks.js'

export interface MoveTable {
  readonly name: string
  /** Those that are written; the server makes the others. */
  readonly columns: readonly string[]
}

export interface TableContent {
  readonly rows: bigint
  /** Of all rows in any order. */
  readonly checksum: string
}

/** Each database has its own. */
const OWN = ['schema_migration', 'database_move']

/** Tables with what they refer to before them, so that each row finds its own. */
export async function findTables(db: Queryable): Promise<MoveTable[]> {
  const tables = await db.query<MoveTable>(sql`
    select c.relname as name, array_agg(a.attname::text order by a.attnum) filter (where a.attgenerated = '') as columns
    from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    where c.relnamespace = current_schema()::regnamespace and c.relkind = 'r' and c.relname <> all (${OWN})
    group by c.relname order by c.relname`)
  const references = await db.query<{ from: string; to: string }>(sql`
    select distinct f.relname as "from", t.relname as "to"
    from pg_constraint k join pg_class f on f.oid = k.conrelid join pg_class t on t.oid = k.confrelid
    where k.contype = 'f' and f.relnamespace = current_schema()::regnamespace and f.oid <> t.oid`)
  return referredFirst(tables, references)
}

/** Pure. Throws where tables refer to each other in a circle. */
export function referredFirst(
  tables: readonly MoveTable[],
  references: readonly { readonly from: string; readonly to: string }[],
): MoveTable[] {
  const sorted: MoveTable[] = []
  const waiting = new Map(tables.map((table) => [table.name, table]))
  while (waiting.size > 0) {
    const free = [...waiting.values()].filter(
      ({ name }) => !references.some(({ from, to }) => from === name && waiting.has(to)),
    )
    if (free.length === 0) throw new Error(`tables refer to each other in a circle: ${[...waiting.keys()].join(', ')}`)
    for (const table of free) waiting.delete(table.name)
    sorted.push(...free)
  }
  return sorted
}

export async function readContent(db: Queryable, name: string): Promise<TableContent> {
  const [row] = await db.query<TableContent>(sql`
    select count(*) as rows, coalesce(sum(('x' || left(md5(t::text), 15))::bit(60)::int8), 0)::text as checksum
    from ${raw(quoted(name))} t`)
  if (!row) throw new Error(`${name} was not counted`)
  return row
}

/** Whether a Mirante has ever been started on this database: its first act is to make a tenant. Some migrations fill tables. */
export async function isInUse(db: Queryable): Promise<boolean> {
  const [row] = await db.query<{ used: boolean }>(sql`select exists (select from tenant) as used`)
  return row?.used === true
}

/** Sets every counter of the target to where the source's stands. */
export async function moveCounters(source: Queryable, target: Queryable): Promise<void> {
  const counters = await source.query<{ name: string }>(sql`
    select relname as name from pg_class where relkind = 'S' and relnamespace = current_schema()::regnamespace`)
  for (const { name } of counters) {
    const [at] = await source.query<{ last: bigint; called: boolean }>(
      sql`select last_value as last, is_called as called from ${raw(quoted(name))}`,
    )
    if (at) await target.query(sql`select setval(${quoted(name)}::regclass, ${at.last}, ${at.called})`)
  }
}

/** Mirantes that are alive on this database: each holds a lock for as long as it lives. */
export async function findAlive(db: Queryable): Promise<string[]> {
  const rows = await db.query<{ name: string }>(sql`
    select replica || '/' || role || '/' || slot as name from process
    where incarnation_lock in (${heldLocks})
    order by name`)
  return rows.map(({ name }) => name)
}

export const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`
