/**
 * Brings a database to the schema of this code. Each numbered `.sql` file of `migrations/` runs once, in one transaction
 * with its row in `schema_migration`, under an advisory lock of that transaction: several processes may migrate at once.
 * There is no way down.
 *
 * Expand, then contract: a migration that leaves older code working says so in a line `-- works-with: 0011` (the schema that
 * this code was built for, or any after it). Then a replica of the older version may be restarted beside the newer ones; with
 * a newer schema that does not say so it refuses to start.
 */
import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import pg from 'pg'
import sql from 'sql-template-tag'
import { systemClock } from '../../kernel/clock.js'
import { AppError } from '../../kernel/errors.js'
import { type Queryable, sqlState } from './database.js'
import { clientConfig, maintenanceTimeouts } from './postgres-client.js'
import { findPrimaryUrl } from './postgres-primary.js'

export interface MigrateOptions {
  readonly onProgress?: (migration: string) => void
  /** Default: the folder beside this file, in `src` as in `dist`. */
  readonly directory?: URL
}

export interface MigrateResult {
  /** Names of the files that ran now, in order. */
  readonly applied: string[]
  /** That this code was built for. */
  readonly version: number
  /** What is in the database, is newer than this code, and says that it works with it. */
  readonly newer: string[]
}

interface Migration {
  readonly version: number
  readonly name: string
  readonly text: string
  readonly sha256: string
  /** The oldest schema whose code works with this migration; null: no code but that which has it. */
  readonly worksWith: number | null
}

const HERE = new URL('./migrations/', import.meta.url)
const WORKS_WITH = /^-- works-with: (\d{4})$/m
const FILE_NAME = /^(\d{4})-[a-z0-9-]+\.sql$/
/** Any constant, the same in all versions. */
const LOCK = 0x6d6972616e7465n

/** Errors: `schema_newer`, `migration_changed`, and what PostgreSQL says of a statement. */
export async function migrate(url: string, options: MigrateOptions = {}): Promise<MigrateResult> {
  const { onProgress = () => {}, directory = HERE } = options
  const migrations = await readMigrations(directory)
  const primaryUrl = await findPrimaryUrl(url, { clock: systemClock, random: Math.random })
  const client = new pg.Client(
    clientConfig({ url: primaryUrl, applicationName: 'mirante migrate', role: null, timeouts: maintenanceTimeouts }),
  )
  client.on('error', () => {})
  await client.connect()
  try {
    const applied: string[] = []
    for (;;) {
      const { name, newer } = await applyNext(client, migrations, onProgress)
      if (name === undefined) return { applied, version: migrations.at(-1)?.version ?? 0, newer }
      applied.push(name)
    }
  } finally {
    await client.end()
  }
}

/** The newest migration in the database; 0 when it has none. */
export async function schemaVersion(db: Queryable): Promise<number> {
  try {
    const rows = await db.query<{ version: number }>(sql`select max(version) as version from schema_migration`)
    return rows[0]?.version ?? 0
  } catch (error) {
    if (sqlState(error) === UNDEFINED_TABLE) return 0
    throw error
  }
}

/** The oldest schema whose code works with this database; 0 when it is empty. */
export async function oldestWorkingCode(db: Queryable): Promise<number> {
  try {
    const rows = await db.query<{ version: number }>(sql`
      select max(coalesce((to_jsonb(m) ->> 'works_with')::int, m.version)) as version from schema_migration m`)
    return rows[0]?.version ?? 0
  } catch (error) {
    if (sqlState(error) === UNDEFINED_TABLE) return 0
    throw error
  }
}

/** The version that this code wants. */
export async function codeVersion(directory: URL = HERE): Promise<number> {
  return (await readMigrations(directory)).at(-1)?.version ?? 0
}

/** One digest of all migrations: databases with the same digest have the same schema. */
export async function migrationsDigest(directory: URL = HERE): Promise<string> {
  const migrations = await readMigrations(directory)
  return sha256(migrations.map(({ name, sha256 }) => `${name} ${sha256}`).join('\n'))
}

// Helpers

const UNDEFINED_TABLE = '42P01'

async function readMigrations(directory: URL): Promise<Migration[]> {
  const names = (await readdir(directory)).filter((name) => name.endsWith('.sql')).sort()
  const migrations = await Promise.all(names.map((name) => readMigration(directory, name)))
  const repeated = migrations.find(({ version }, index) => version === migrations[index + 1]?.version)
  if (repeated) throw new Error(`two migrations have the number of ${repeated.name}`)
  return migrations
}

async function readMigration(directory: URL, name: string): Promise<Migration> {
  const version = FILE_NAME.exec(name)?.[1]
  if (!version) throw new Error(`${name} is not named like 0001-what-it-does.sql`)
  const text = await readFile(new URL(name, directory), 'utf8')
  const worksWith = WORKS_WITH.exec(text)?.[1]
  return {
    ...{ version: Number(version), name, text, sha256: sha256(text) },
    worksWith: worksWith === undefined ? null : Number(worksWith),
  }
}

interface Step {
  /** Of the migration that was applied; undefined: none was missing. */
  readonly name: string | undefined
  readonly newer: string[]
}

/** Applies the first migration that is missing. */
async function applyNext(
  client: pg.Client,
  migrations: readonly Migration[],
  onProgress: (name: string) => void,
): Promise<Step> {
  await client.query('BEGIN')
  try {
    // Another process may be at a long migration, so this lock is waited for as long as it takes.
    await client.query(`SET LOCAL lock_timeout = 0; SELECT pg_advisory_xact_lock(${LOCK})`)
    await client.query(`SET LOCAL lock_timeout = ${maintenanceTimeouts.lockMs}`)
    await client.query(`create table if not exists schema_migration (
      version int primary key, name text not null, sha256 text not null, applied_at timestamptz not null default now())`)
    const { next, newer } = await nextMigration(client, migrations)
    if (next) {
      onProgress(next.name)
      await client.query(next.text)
      await client.query('alter table schema_migration add column if not exists works_with int')
      await client.query('insert into schema_migration (version, name, sha256, works_with) values ($1, $2, $3, $4)', [
        next.version,
        next.name,
        next.sha256,
        next.worksWith,
      ])
    }
    await client.query('COMMIT')
    return { name: next?.name, newer }
  } catch (error) {
    await client.query('ROLLBACK').catch(() => {})
    throw error
  }
}

interface AppliedRow {
  readonly version: number
  readonly name: string
  readonly sha256: string
  readonly worksWith: number | null
}

async function nextMigration(
  client: pg.Client,
  migrations: readonly Migration[],
): Promise<{ readonly next: Migration | undefined; readonly newer: string[] }> {
  // As JSON, since a database of older code has no column `works_with`.
  const { rows } = await client.query<AppliedRow>(
    `select version, name, sha256, (to_jsonb(m) ->> 'works_with')::int as "worksWith"
     from schema_migration m order by version`,
  )
  const codeVersion = migrations.at(-1)?.version ?? 0
  const newer: string[] = []
  const known = new Map(migrations.map((migration) => [migration.version, migration]))
  for (const row of rows) {
    const ours = known.get(row.version)
    if (!ours) newer.push(worksWithOurs(row, codeVersion))
    else if (ours.sha256 !== row.sha256)
      throw new AppError('migration_changed', { detail: `${ours.name} has changed.` })
  }
  const applied = new Set(rows.map(({ version }) => version))
  return { next: migrations.find(({ version }) => !applied.has(version)), newer }
}

/** Throws when this code does not work with a migration that it lacks. */
function worksWithOurs({ version, name, worksWith }: AppliedRow, codeVersion: number): string {
  if (version > codeVersion && worksWith !== null && worksWith <= codeVersion) return name
  throw new AppError('schema_newer', { detail: `The database has ${name}, which this version lacks.` })
}

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex')
