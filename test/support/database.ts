/** A migrated database of its own for each test file (or test), cloned from a template that is migrated once per run. */
import { randomBytes } from 'node:crypto'
import pg from 'pg'
import sql from 'sql-template-tag'
import { inject } from 'vitest'
import type { Database } from '../../src/platform/database/database.js'
import { migrate, migrationsDigest } from '../../src/platform/database/migrate.js'
import { createPostgres } from '../../src/platform/database/postgres.js'

export interface TestDatabase {
  /** As `mirante_system`, like the product. */
  readonly db: Database
  readonly url: string
  drop(): Promise<void>
}

/** All databases of tests begin so, then the run's id. */
export const TEST_DATABASE_PREFIX = 'mirante_test_'

/** Longer than the product's: a busy machine that runs tests must not fail them. */
export const PATIENT = { connectMs: 120_000, statementMs: 60_000, lockMs: 60_000, idleInTransactionMs: 60_000 }

export async function createTestDatabase(): Promise<TestDatabase> {
  const server = testServerUrl()
  const template = await ensureTemplate(server)
  const { url, drop: dropDatabase } = await createDatabase(`template ${template}`)
  const db = createPostgres({ url, max: 8, applicationName: 'mirante test', onError: () => {}, timeouts: PATIENT })
  return {
    db,
    url,
    async drop() {
      await db.close()
      await dropDatabase()
    },
  }
}

/** A database with nothing in it. */
export function createEmptyDatabase(): Promise<{ url: string; drop(): Promise<void> }> {
  return createDatabase('template template0')
}

/** Of a superuser or a role that may create databases and roles. */
export function testServerUrl(): string {
  const url = inject('services').postgres
  if (url === undefined) throw new Error('no PostgreSQL for tests: see test/support/global-setup.ts')
  return url
}

/** Runs statements on the server's own database, outside any transaction. */
export async function onServer<Result>(
  server: string,
  work: (query: (text: string) => Promise<Record<string, unknown>[]>) => Promise<Result>,
): Promise<Result> {
  const client = new pg.Client({ connectionString: server })
  client.on('error', () => {})
  await client.connect()
  try {
    return await work(async (text) => (await client.query(text)).rows)
  } finally {
    await client.end()
  }
}

/**
 * Lets the planner know what is in the database now, as the autovacuum does sooner or later. By the owner of the tables:
 * asked by the product's role, PostgreSQL skips them with nothing but a warning.
 */
export async function analyze(db: Pick<Database, 'query'>): Promise<void> {
  const [row] = await db.query<{ name: string }>(sql`select current_database() as name`)
  await onServer(databaseUrl(testServerUrl(), row?.name ?? ''), (query) => query('analyze'))
}

// Helpers

async function createDatabase(options: string): Promise<{ url: string; drop(): Promise<void> }> {
  const server = testServerUrl()
  const name = `${TEST_DATABASE_PREFIX}${inject('runId')}_${randomBytes(6).toString('hex')}`
  await onServer(server, (query) => query(`create database ${name} ${options}`))
  return {
    url: databaseUrl(server, name),
    drop: () => onServer(server, async (query) => void (await query(`drop database if exists ${name} with (force)`))),
  }
}

/** Test files run in parallel processes: the first makes the template, under a lock; a half-made one has another name. */
async function ensureTemplate(server: string): Promise<string> {
  const digest = (await migrationsDigest()).slice(0, 12)
  const name = `${TEST_DATABASE_PREFIX}${inject('runId')}_template_${digest}`
  await onServer(server, async (query) => {
    await query(`select pg_advisory_lock(hashtext('${name}'))`)
    const [existing] = await query(`select 1 from pg_database where datname = '${name}'`)
    if (existing) return
    await query(`drop database if exists ${name}_new with (force)`)
    await query(`create database ${name}_new template template0`)
    await migrate(databaseUrl(server, `${name}_new`))
    await query(`alter database ${name}_new rename to ${name}`)
    // Nobody may connect: a connection to the template would make cloning wait or fail.
    await query(`alter database ${name} with allow_connections false`)
  })
  return name
}

function databaseUrl(server: string, name: string): string {
  const url = new URL(server)
  url.pathname = `/${name}`
  return url.href
}
