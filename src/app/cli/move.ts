/** `mirante move --to …`: everything into another database, once and for all. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { errorText } from '../../kernel/logger.js'
import { isDatabaseUnavailable } from '../../platform/database/database.js'
import { problemOfDatabaseUrl } from '../../platform/database/database-url.js'
import { startEmbeddedPostgres } from '../../platform/database/embedded.js'
import {
  type MovedTable,
  type MoveProgress,
  moveDatabase,
  nameOf,
  stayAt,
} from '../../platform/database/postgres-move.js'
import { createLogger } from '../../platform/observability/logger.js'
import { type OperatorConfig, readConfig } from '../config.js'
import { variables } from '../config-variables.js'
import { openDataDirectory } from '../data-directory.js'
import { EXIT, type ExitCode, UnreachableError, UsageError } from '../exit-codes.js'
import { flagsFrom } from './config-flags.js'

const PROGRESS_EVERY_MS = 2_000

export async function moveCommand(args: Readonly<Record<string, unknown>>): Promise<ExitCode> {
  const config = readConfig(flagsFrom(args))
  const to = args.stay ? undefined : targetFrom(args)
  await withSource(config, async (from) => {
    if (to === undefined) return stay(from)
    const fromName = config.databaseUrl ? nameOf(config.databaseUrl) : config.dataDirectory
    const moved = await loudly(() => moveDatabase({ from, to, fromName, onProgress: progressTeller() }))
    const steps = nextSteps(config, to)
    if (args.json) say(JSON.stringify({ to: nameOf(to), tables: moved, next: steps }))
    else say(inWords(moved, nameOf(to), steps))
  })
  return EXIT.done
}

function targetFrom({ to, 'to-file': file }: Readonly<Record<string, unknown>>): string {
  if ((typeof to === 'string') === (typeof file === 'string')) {
    throw new UsageError('Say where to: --to=postgres://user:password@host/database, or --to-file with it in a file.')
  }
  const url = typeof to === 'string' ? to : readFileSync(String(file), 'utf8').trim()
  const problem = problemOfDatabaseUrl(url)
  if (problem) throw new UsageError(`The target ${problem}.`)
  return url
}

/** The directory is held, so that no `serve` starts on it meanwhile. */
async function withSource(config: OperatorConfig, work: (url: string) => Promise<void>): Promise<void> {
  if (config.databaseUrl) return work(config.databaseUrl)
  if (!existsSync(config.dataDirectory)) {
    throw new UsageError(
      `${config.dataDirectory} is not there: set SESSION_STORAGE_PATH, or DATABASE_URL to the source.`,
    )
  }
  const directory = await openDataDirectory(config.dataDirectory)
  try {
    const logger = createLogger({ ...config, destination: process.stderr })
    const embedded = await startEmbeddedPostgres({ directory: config.dataDirectory, logger })
    try {
      await work(embedded.url)
    } finally {
      await embedded.stop()
    }
  } finally {
    await directory.release()
  }
}

async function stay(url: string): Promise<void> {
  const found = await loudly(() => stayAt(url))
  say(found ? 'The move is called off: Mirante may start here again.' : 'There is no unfinished move here.')
}

async function loudly<Result>(work: () => Promise<Result>): Promise<Result> {
  try {
    return await work()
  } catch (error) {
    if (!isDatabaseUnavailable(error)) throw error
    throw new UnreachableError(`A database does not answer: ${errorText(error)}. Check both, and move again.`)
  }
}

function progressTeller(): (progress: MoveProgress) => void {
  let toldAt = Date.now()
  return ({ table, done, of, bytes }) => {
    if (Date.now() - toldAt < PROGRESS_EVERY_MS) return
    toldAt = Date.now()
    process.stderr.write(`${done} of ${of} tables; ${table}: ${Math.round(bytes / 1_048_576)} MB\n`)
  }
}

interface Step {
  readonly variable: string
  readonly what: string
}

/** What the data needs besides the database, where it is to be served from now on. */
function nextSteps({ dataDirectory, encryptionKey, storage }: OperatorConfig, to: string): Step[] {
  const keyFile = join(dataDirectory, 'encryption-key')
  const media = storage.kind === 'directory' ? (storage.path ?? join(dataDirectory, 'media')) : undefined
  return [
    { variable: variables.databaseUrl.name, what: `the URL of ${nameOf(to)}, as you gave it here` },
    {
      variable: variables.encryptionKey.name,
      what: encryptionKey ? 'the same as before' : `what is in ${keyFile}; without it every login is lost`,
    },
    {
      variable: variables.storage.name,
      what: media
        ? `the files of messages did not move: let every replica have ${media}, as file://${media}`
        : 'the same as before',
    },
  ]
}

function inWords(moved: readonly MovedTable[], place: string, steps: readonly Step[]): string {
  const rows = moved.reduce((sum, table) => sum + table.rows, 0)
  return [
    `${rows} rows in ${moved.length} tables are in ${place} now; each table was compared.`,
    'The database that they come from does not start any more. For the new one set:',
    ...steps.map(({ variable, what }) => `  ${variable}  ${what}`),
  ].join('\n')
}

const say = (line: string): void => void process.stdout.write(`${line}\n`)
