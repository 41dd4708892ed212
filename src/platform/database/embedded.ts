/**
 * PostgreSQL for a machine that has none: the real server, from the npm package, on a directory of ours.
 *
 * Promises: one starter per directory at a time; a directory is never destroyed (what is not ours is refused); a kill -9 of
 * the starter, of the server or of both loses nothing that was committed, and the next start goes on: with the server that
 * was left running if it is as this version wants it, otherwise with a new one.
 *
 *   <directory>/postgres        data directory         <directory>/postgres.json       password and port (0600)
 *   <directory>/postgres.lock   held while started     <directory>/postgres-start.log  first words of the server
 */
import { mkdir } from 'node:fs/promises'
import { resolve } from 'node:path'
import pg from 'pg'
import { type Clock, systemClock } from '../../kernel/clock.js'
import { AppError } from '../../kernel/errors.js'
import type { Logger } from '../../kernel/logger.js'
import type { Random } from '../../kernel/random.js'
import { sqlState } from './database.js'
import { type DirectoryLock, lockDirectory } from './directory-lock.js'
import {
  type ClusterPaths,
  type ClusterSecret,
  clusterPaths,
  clusterUrl,
  createCluster,
  DATABASE,
  inspectCluster,
  LOCK_NAME,
  newPassword,
  readSecret,
  writeSecret,
} from './embedded-cluster.js'
import {
  findFreePort,
  findLeftover,
  isAsWanted,
  type Postmaster,
  type PostmasterContext,
  startPostmaster,
  stopPostmaster,
} from './embedded-postmaster.js'
import { prepareRuntime } from './embedded-runtime.js'

export interface EmbeddedOptions {
  /** Made if missing, closed to other accounts. */
  readonly directory: string
  readonly logger: Logger
  readonly clock?: Clock
  readonly random?: Random
}

export interface EmbeddedPostgres {
  /** Of the superuser, on 127.0.0.1, with the password in it. The port may be another one after the next start. */
  readonly url: string
  readonly pid: number
  /** Whether the server was left running by an earlier starter. */
  readonly adopted: boolean
  /** Fast shutdown. Idempotent. */
  stop(): Promise<void>
  /** Called once when the server ends without `stop`; the directory may then be started again. */
  onExit(listener: () => void): void
}

const START_TRIES = 100
const RETRY_MS = 100

/** Errors: `postgres_directory_in_use`, `postgres_directory_refused`, `postgres_start_failed`. */
export async function startEmbeddedPostgres(options: EmbeddedOptions): Promise<EmbeddedPostgres> {
  const { logger, clock = systemClock, random = Math.random } = options
  const paths = clusterPaths(resolve(options.directory))
  await mkdir(paths.directory, { recursive: true, mode: 0o700 })
  const lock = await takeLock(paths.directory)
  try {
    const found = await inspectCluster(paths)
    const runtime = await prepareRuntime(found?.owner)
    const context = { paths, runtime, clock }
    const secret = (await readSecret(paths)) ?? (await makeSecret(paths, random))
    if (!found) {
      logger.info('INFO', 'making the embedded database', { directory: paths.data })
      await createCluster(paths, runtime, secret)
    }
    const adopted = await adopt(context, secret, logger)
    const postmaster = adopted ?? (await start(context, secret, random))
    const url = await ensureDatabase(postmaster, secret, clock)
    logger.info('INFO', 'embedded database is up', { pid: postmaster.pid, adopted: adopted !== undefined })
    return running({ postmaster, adopted: adopted !== undefined, url, lock, clock })
  } catch (error) {
    await lock.release()
    throw error
  }
}

// Helpers

async function takeLock(directory: string): Promise<DirectoryLock> {
  const taken = await lockDirectory(directory, LOCK_NAME)
  if ('release' in taken) return taken
  const who = taken.pid === undefined ? 'a process that does not answer' : `the process with pid ${taken.pid}`
  throw new AppError('postgres_directory_in_use', { detail: `${directory} is in use by ${who}.` })
}

async function makeSecret(paths: ClusterPaths, random: Random): Promise<ClusterSecret> {
  const secret = { password: newPassword(), port: await findFreePort(random) }
  await writeSecret(paths, secret)
  return secret
}

/** The server that an earlier starter left, if it serves us as well as a new one; otherwise it is ended. */
async function adopt(
  context: PostmasterContext,
  secret: ClusterSecret,
  logger: Logger,
): Promise<Postmaster | undefined> {
  const leftover = await findLeftover(context)
  if (!leftover) return undefined
  if ((await isAsWanted(context, leftover)) && leftover.port === secret.port) return leftover
  logger.warn('INFO', 'ending a database server that was left running', { pid: leftover.pid })
  await stopPostmaster(leftover, context.clock)
  return undefined
}

async function start(context: PostmasterContext, secret: ClusterSecret, random: Random): Promise<Postmaster> {
  const { paths, clock } = context
  let wanted = secret
  for (let attempt = 1; attempt <= START_TRIES; attempt++) {
    const port = await findFreePort(random, wanted.port)
    if (port !== wanted.port) {
      wanted = { ...wanted, port }
      await writeSecret(paths, wanted)
    }
    const result = await startPostmaster(context, port)
    if ('pid' in result) return result
    await clock.sleep(RETRY_MS)
  }
  throw new AppError('postgres_start_failed', {
    detail: `PostgreSQL on ${paths.data} did not start; see ${paths.startLog}`,
  })
}

/** That it answers to our password also proves that it is ours. */
async function ensureDatabase(postmaster: Postmaster, secret: ClusterSecret, clock: Clock): Promise<string> {
  const urlOf = (database: string) => clusterUrl({ ...secret, port: postmaster.port }, database)
  try {
    await withClient(urlOf(DATABASE), async () => {}).catch(async (error: unknown) => {
      if (sqlState(error) !== UNDEFINED_DATABASE) throw error
      await withClient(urlOf('postgres'), (client) => client.query(`create database ${DATABASE}`))
    })
  } catch (error) {
    await stopPostmaster(postmaster, clock)
    throw error
  }
  return urlOf(DATABASE)
}

const UNDEFINED_DATABASE = '3D000'

async function withClient(url: string, work: (client: pg.Client) => Promise<unknown>): Promise<void> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 10_000 })
  client.on('error', () => {})
  await client.connect()
  try {
    await work(client)
  } finally {
    await client.end()
  }
}

interface Running {
  readonly postmaster: Postmaster
  readonly adopted: boolean
  readonly url: string
  readonly lock: DirectoryLock
  readonly clock: Clock
}

function running({ postmaster, adopted, url, lock, clock }: Running): EmbeddedPostgres {
  const listeners: (() => void)[] = []
  let stopping: Promise<void> | undefined
  let exited = false

  void postmaster.ended.then(async () => {
    if (stopping) return
    exited = true
    // First the lock, so that a listener may start again at once.
    await lock.release()
    for (const listener of listeners) listener()
  })

  return {
    url,
    pid: postmaster.pid,
    adopted,
    stop() {
      stopping ??= exited ? Promise.resolve() : stopPostmaster(postmaster, clock).finally(lock.release)
      return stopping
    },
    onExit(listener) {
      if (exited) queueMicrotask(listener)
      else listeners.push(listener)
    },
  }
}
