import { systemClock } from '../../kernel/clock.js'
import { errorText } from '../../kernel/logger.js'
import { isDatabaseUnavailable } from '../../platform/database/database.js'
import { startEmbeddedPostgres } from '../../platform/database/embedded.js'
import { type MigrateResult, migrate } from '../../platform/database/migrate.js'
import { createLogger } from '../../platform/observability/logger.js'
import { type OperatorConfig, readConfig } from '../config.js'
import { EXIT, type ExitCode, UnreachableError } from '../exit-codes.js'
import { flagsFrom } from './config-flags.js'

export async function migrateCommand(args: Readonly<Record<string, unknown>>): Promise<ExitCode> {
  const { applied, version, newer } = await withDatabase(readConfig(flagsFrom(args)), migrateLoudly)
  const beyond = newer.length === 0 ? '' : `; a newer version that works with this one has added ${newer.join(', ')}`
  const inWords = `the schema is at version ${version}; ${applied.length || 'no'} migrations were applied${beyond}`
  process.stdout.write(`${args.json ? JSON.stringify({ version, applied, newer }) : inWords}\n`)
  return EXIT.done
}

async function migrateLoudly(url: string): Promise<MigrateResult> {
  try {
    return await migrate(url, { onProgress: (name) => process.stderr.write(`applying ${name}\n`) })
  } catch (error) {
    if (!isDatabaseUnavailable(error)) throw error
    throw new UnreachableError(`The database does not answer: ${errorText(error)}. Check DATABASE_URL.`)
  }
}

async function withDatabase<Result>(config: OperatorConfig, work: (url: string) => Promise<Result>): Promise<Result> {
  if (config.databaseUrl) return work(config.databaseUrl)
  const logger = createLogger({ ...config, destination: process.stderr })
  const embedded = await startEmbeddedPostgres({ directory: config.dataDirectory, logger, clock: systemClock })
  try {
    return await work(embedded.url)
  } finally {
    await embedded.stop()
  }
}
