/**
 * The whole of one database into another, empty one.
 *
 * Promises: what arrives is one snapshot of the source, compared row by row count and checksum before it is committed, all of
 * it or nothing; from the first moment on neither database can be started until the move is finished, and then the target
 * alone (move-mark.ts). Whatever breaks, the same call again begins anew. Memory does not grow with the data.
 */
import pg from 'pg'
import sql, { raw } from 'sql-template-tag'
import { systemClock } from '../../kernel/clock.js'
import type { Queryable } from './database.js'
import { databaseHosts } from './database-url.js'
import { migrate } from './migrate.js'
import { finishMove, forgetMove, markMove, readMarks } from './move-mark.js'
import { findAlive, findTables, isInUse, type MoveTable, moveCounters, quoted, readContent } from './move-tables.js'
import { clientConfig, run } from './postgres-client.js'
import { copyTable } from './postgres-copy.js'
import { findPrimaryUrl } from './postgres-primary.js'
import { hostQuestion } from './postgres-watch.js'
import type { HostAnswer } from './primary.js'

export interface MoveOptions {
  readonly from: string
  readonly to: string
  /** How the source is told of in the target; its URL may be one that changes. */
  readonly fromName: string
  readonly onProgress: (progress: MoveProgress) => void
}

export interface MoveProgress {
  readonly table: string
  /** Counts of tables. */
  readonly done: number
  readonly of: number
  /** Of this table so far. */
  readonly bytes: number
}

export interface MovedTable {
  readonly name: string
  readonly rows: number
  readonly checksum: string
}

/** Why nothing was moved; the message is for a person and says what to do. */
export class MoveError extends Error {}

interface Side {
  readonly client: pg.Client
  readonly db: Queryable
}

export async function moveDatabase(options: MoveOptions): Promise<MovedTable[]> {
  const toName = nameOf(options.to)
  const source = await connect(options.from)
  try {
    const target = await connect(options.to)
    try {
      await refuseSame(source.db, target.db)
      const begunBefore = await prepareSource(source.db, options.from, toName)
      await migrate(options.to)
      const arrived = begunBefore && (await hasArrived(target.db, options.fromName))
      const moved = arrived ? await readAll(target) : await fillTarget(source, target, options)
      await finishMove(source.db, 'source')
      return moved
    } finally {
      await target.client.end()
    }
  } finally {
    await source.client.end()
  }
}

/** Lets Mirante start on the source again after a move that was not finished. False when there is none. */
export async function stayAt(url: string): Promise<boolean> {
  const { client, db } = await connect(url)
  try {
    return await forgetMove(db)
  } finally {
    await client.end()
  }
}

/** Host and database, without user and password. */
export function nameOf(url: string): string {
  const hosts = databaseHosts(url)
  return `${hosts.map(({ place }) => place).join()}${new URL(hosts[0].url).pathname}`
}

// Helpers

/** A copy takes as long as it takes; a lock that somebody else holds is not waited for. */
const timeouts = { connectMs: 10_000, statementMs: 0, lockMs: 10_000, idleInTransactionMs: 0 }

async function connect(url: string): Promise<Side> {
  const primaryUrl = await findPrimaryUrl(url, { clock: systemClock, random: Math.random })
  const client = new pg.Client(clientConfig({ url: primaryUrl, applicationName: 'mirante move', role: null, timeouts }))
  client.on('error', () => {})
  await client.connect()
  // Checksums are of rows as text, which has to look alike on both sides.
  await client.query(
    `set timezone = 'UTC'; set datestyle = 'ISO'; set bytea_output = 'hex'; set extra_float_digits = 1`,
  )
  return {
    client,
    db: {
      query: async <Row>(statement: Parameters<Queryable['query']>[0]) => (await run(client, statement)).rows as Row[],
      execute: async (statement) => (await run(client, statement)).rowCount ?? 0,
    },
  }
}

async function refuseSame(source: Queryable, target: Queryable): Promise<void> {
  const idOf = async (db: Queryable) => {
    const [server] = await db.query<HostAnswer>(hostQuestion)
    const [row] = await db.query<{ name: string }>(sql`select current_database() as name`)
    return `${server?.systemId} ${row?.name}`
  }
  if ((await idOf(source)) === (await idOf(target)))
    throw new MoveError('The target is the source itself: name another database.')
}

/** The last step of an earlier call is all that is missing. */
async function hasArrived(target: Queryable, fromName: string): Promise<boolean> {
  const marks = await readMarks(target)
  return marks.some(({ side, other, finished }) => side === 'target' && other === fromName && finished)
}

async function fillTarget(source: Side, target: Side, { fromName, onProgress }: MoveOptions): Promise<MovedTable[]> {
  await prepareTarget(target, fromName)
  const moved = await copyAll(source, target, onProgress)
  await target.client.query('analyze')
  return moved
}

async function readAll(side: Side): Promise<MovedTable[]> {
  await side.client.query('begin')
  await seeEveryRow(side)
  const read: MovedTable[] = []
  for (const { name } of await findTables(side.db)) {
    const { rows, checksum } = await readContent(side.db, name)
    read.push({ name, rows: Number(rows), checksum })
  }
  await side.client.query('commit')
  return read
}

/**
 * The mark comes before the look: who starts after it is refused, who started before it is seen. Resolves to whether the same
 * move was begun before.
 */
async function prepareSource(source: Queryable, url: string, toName: string): Promise<boolean> {
  await migrate(url)
  const mark = (await readMarks(source)).find(({ side }) => side === 'source')
  if (mark?.finished) throw new MoveError(`The data has moved already, to ${mark.other}: start Mirante there.`)
  if (mark && mark.other !== toName) {
    throw new MoveError(
      `A move to ${mark.other} was begun: finish it, or empty that database and run mirante move --stay first.`,
    )
  }
  await markMove(source, 'source', toName)
  const alive = await findAlive(source)
  if (alive.length === 0) return mark !== undefined
  if (!mark) await forgetMove(source)
  throw new MoveError(`Mirante runs on the source (${alive.join(', ')}): stop it first, then move again.`)
}

async function prepareTarget(target: Side, fromName: string): Promise<void> {
  await target.client.query('begin')
  await seeEveryRow(target)
  const inUse = await isInUse(target.db)
  await target.client.query('commit')
  if (inUse) throw new MoveError('The target is not empty: Mirante was started on it before. Name an empty database.')
  await markMove(target.db, 'target', fromName)
}

async function copyAll(source: Side, target: Side, onProgress: MoveOptions['onProgress']): Promise<MovedTable[]> {
  const tables = await findTables(source.db)
  await refuseOtherTables(tables, await findTables(target.db))
  await source.client.query('begin isolation level repeatable read read only')
  await seeEveryRow(source)
  await target.client.query('begin')
  for (const { name } of tables.toReversed()) await openTable(target.db, name)
  const moved: MovedTable[] = []
  for (const [done, table] of tables.entries()) {
    let bytes = 0
    await copyOne(source, target, table, (count) => {
      bytes += count
      onProgress({ table: table.name, done, of: tables.length, bytes })
    })
    moved.push(await compare(source.db, target.db, table.name))
  }
  for (const { name } of tables) await guardAgain(target.db, name)
  await source.client.query('commit')
  await moveCounters(source.db, target.db)
  // With what was copied, or not at all: a target that is full and not marked could neither be used nor filled again.
  await finishMove(target.db, 'target')
  await target.client.query('commit')
  return moved
}

async function refuseOtherTables(source: readonly MoveTable[], target: readonly MoveTable[]): Promise<void> {
  const named = (tables: readonly MoveTable[]) =>
    tables
      .map(({ name, columns }) => `${name}(${columns.join()})`)
      .sort()
      .join()
  if (named(source) === named(target)) return
  throw new MoveError('The two databases do not have the same tables: move with the version of Mirante that ran last.')
}

/** Row-level security holds for owners too; a superuser is above it, and `mirante_system` sees all. */
async function seeEveryRow({ client, db }: Side): Promise<void> {
  const [user] = await db.query<{ above: boolean }>(
    sql`select rolsuper or rolbypassrls as above from pg_roles where rolname = current_user`,
  )
  if (!user?.above) await client.query('set local role mirante_system')
}

/**
 * Triggers would tell of each row as if it were news; COPY refuses tables whose rows are guarded from their owner; what a
 * migration has put there is in the source, too.
 */
async function openTable(target: Queryable, table: string): Promise<void> {
  const name = raw(quoted(table))
  await target.execute(sql`alter table ${name} disable trigger user`)
  await target.execute(sql`alter table ${name} no force row level security`)
  await target.execute(sql`delete from ${name}`)
}

async function copyOne(source: Side, target: Side, table: MoveTable, onBytes: (count: number) => void): Promise<void> {
  const name = quoted(table.name)
  const columns = table.columns.map(quoted).join(', ')
  const statements = {
    out: `copy (select ${columns} from ${name}) to stdout`,
    in: `copy ${name} (${columns}) from stdin`,
  }
  await copyTable(source.client, target.client, statements, onBytes)
}

/** As the migrations have it: forced wherever there is row-level security at all. */
async function guardAgain(target: Queryable, table: string): Promise<void> {
  const name = quoted(table)
  await target.execute(sql`alter table ${raw(name)} enable trigger user`)
  const [guard] = await target.query<{ guarded: boolean }>(
    sql`select relrowsecurity as guarded from pg_class where oid = ${name}::regclass`,
  )
  if (guard?.guarded) await target.execute(sql`alter table ${raw(name)} force row level security`)
}

/** Compares before the guard is up again: as its owner the target's user then sees every row. */
async function compare(source: Queryable, target: Queryable, name: string): Promise<MovedTable> {
  const [there, here] = [await readContent(source, name), await readContent(target, name)]
  if (there.rows !== here.rows || there.checksum !== here.checksum) {
    throw new MoveError(
      `${name} has not arrived as it was (${there.rows} rows there, ${here.rows} here): nothing was kept; move again.`,
    )
  }
  return { name, rows: Number(here.rows), checksum: here.checksum }
}
