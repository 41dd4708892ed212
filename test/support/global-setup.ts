/**
 * Once per run of Vitest: finds the servers, starts the embedded PostgreSQL where none answers, says which tests will be
 * skipped, and drops the run's databases at the end.
 */
import { randomBytes } from 'node:crypto'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestProject } from 'vitest/node'
import { AppError } from '../../src/kernel/errors.js'
import { silentLogger } from '../../src/kernel/logger.js'
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/platform/database/embedded.js'
import { onServer, TEST_DATABASE_PREFIX } from './database.js'
import { findServices } from './services.js'

const HOUR_SECONDS = 3_600
/** Older databases were left by a run that was killed. */
const STALE_AFTER_SECONDS = 6 * HOUR_SECONDS

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const found = await findServices()
  const embedded = found.postgres === undefined ? await startOwn() : undefined
  const postgres = found.postgres ?? embedded?.url ?? ''
  const startedAt = Math.floor(Date.now() / 1_000)
  const runId = `${startedAt}_${randomBytes(3).toString('hex')}`
  project.provide('services', { ...found, postgres })
  project.provide('runId', runId)
  const missing = (['redis', 'rabbitmq'] as const).filter((name) => found[name] === undefined)
  if (embedded) process.stdout.write('no PostgreSQL answers: tests use the embedded one\n')
  if (missing.length > 0) process.stdout.write(`tests that need ${missing.join(' or ')} are skipped: nothing answers\n`)

  await dropDatabases(postgres, (name) => Number(name.split('_')[0]) < startedAt - STALE_AFTER_SECONDS)
  return async () => {
    await dropDatabases(postgres, (name) => name.startsWith(`${runId}_`))
    await embedded?.stop()
  }
}

/** A cluster that is kept between runs, since making one takes seconds; one for each run that is under way. */
async function startOwn(): Promise<EmbeddedPostgres> {
  for (let slot = 0; ; slot++) {
    const directory = join(tmpdir(), `mirante-test-postgres-${process.getuid?.() ?? 0}-${slot}`)
    try {
      return await startEmbeddedPostgres({ directory, logger: silentLogger })
    } catch (error) {
      if (!(error instanceof AppError && error.code === 'postgres_directory_in_use')) throw error
    }
  }
}

/** `chosen` sees the name without its prefix. */
async function dropDatabases(server: string, chosen: (name: string) => boolean): Promise<void> {
  await onServer(server, async (query) => {
    const rows = await query(`select datname from pg_database where starts_with(datname, '${TEST_DATABASE_PREFIX}')`)
    for (const { datname } of rows) {
      if (typeof datname !== 'string' || !chosen(datname.slice(TEST_DATABASE_PREFIX.length))) continue
      await query(`drop database if exists ${datname} with (force)`)
    }
  })
}
