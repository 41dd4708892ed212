/** The files of an embedded cluster: whether the folder may be used, how it is made, and what is remembered beside it. */
import { type SpawnOptions, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chown, mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { AppError } from '../../kernel/errors.js'
import type { Account, Runtime } from './embedded-runtime.js'

/** Where things lie in the directory that Mirante was given. */
export interface ClusterPaths {
  readonly directory: string
  /** PostgreSQL's own data directory. */
  readonly data: string
  /** What PostgreSQL says before its log is open. */
  readonly startLog: string
  /** Password and port: readable by the owner only. */
  readonly secret: string
}

export interface ClusterSecret {
  readonly password: string
  readonly port: number
}

export const LOCK_NAME = 'postgres.lock'
const SUPERUSER = 'mirante'
/** Ours in the cluster. */
export const DATABASE = 'mirante'
/** Data directories of another major version cannot be opened by this one. */
const MAJOR_VERSION = '18'

export const clusterPaths = (directory: string): ClusterPaths => ({
  directory,
  data: join(directory, 'postgres'),
  startLog: join(directory, 'postgres-start.log'),
  secret: join(directory, 'postgres.json'),
})

/** What PostgreSQL's programs see of ours: nothing that could change how they behave. */
export const childEnvironment: NodeJS.ProcessEnv = { PATH: '/usr/local/bin:/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' }

/**
 * How PostgreSQL names its data directory and where it is started. Another account may not be able to walk the path to it,
 * so it is started in it, and reaches it by the name that Linux has for a process's own folder.
 */
export function dataArgument(paths: ClusterPaths, { account }: Runtime): string {
  return account && process.platform === 'linux' ? '/proc/self/cwd' : paths.data
}

export interface FoundCluster {
  readonly owner: Account
}

/** What is in the directory: a cluster of ours, or nothing. Anything else is refused, with a sentence. */
export async function inspectCluster(paths: ClusterPaths): Promise<FoundCluster | undefined> {
  const entries = await readdir(paths.data).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return []
    throw refused(`${paths.data} cannot be read: ${error.message}`, error)
  })
  if (entries.length === 0) return undefined
  const version = (await readFile(join(paths.data, 'PG_VERSION'), 'utf8').catch(() => '')).trim()
  if (version === '') throw refused(`${paths.data} is not empty and is not a PostgreSQL data directory.`)
  if (version !== MAJOR_VERSION) {
    throw refused(
      `${paths.data} was made by PostgreSQL ${version}, and this Mirante brings ${MAJOR_VERSION}: dump it with the old version first.`,
    )
  }
  if (!(await readSecret(paths))) {
    throw refused(`${paths.data} is a PostgreSQL data directory, but ${paths.secret} with its password is missing.`)
  }
  const { uid, gid } = await stat(join(paths.data, 'PG_VERSION'))
  const self = process.getuid?.()
  if (self !== 0 && self !== uid) {
    throw refused(`${paths.data} belongs to the account with uid ${uid}, and Mirante runs as ${self}.`)
  }
  return { owner: { uid, gid } }
}

/** Made beside its place and moved there when complete: what a kill leaves behind is thrown away by the next attempt. */
export async function createCluster(paths: ClusterPaths, runtime: Runtime, secret: ClusterSecret): Promise<void> {
  const draft = { ...paths, data: join(paths.directory, 'postgres.new') }
  await rm(draft.data, { recursive: true, force: true })
  await mkdir(draft.data, { mode: 0o700 })
  const { account } = runtime
  if (account) await chown(draft.data, account.uid, account.gid)
  await runInitdb(draft, runtime, secret.password)
  // An empty folder there may be a person's; a rename replaces it and nothing more.
  await rename(draft.data, paths.data)
  await syncDirectory(paths.directory)
}

export async function readSecret(paths: ClusterPaths): Promise<ClusterSecret | undefined> {
  try {
    const { password, port } = JSON.parse(await readFile(paths.secret, 'utf8')) as Partial<ClusterSecret>
    return typeof password === 'string' && typeof port === 'number' ? { password, port } : undefined
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT' || error instanceof SyntaxError) return undefined
    throw error
  }
}

/** Where the embedded database of this directory answers while it runs; undefined when there is none. */
export async function embeddedUrl(directory: string): Promise<string | undefined> {
  const secret = await readSecret(clusterPaths(directory))
  return secret && clusterUrl(secret, DATABASE)
}

export const clusterUrl = ({ password, port }: ClusterSecret, database: string): string =>
  `postgres://${SUPERUSER}:${password}@127.0.0.1:${port}/${database}`

export async function writeSecret(paths: ClusterPaths, secret: ClusterSecret): Promise<void> {
  const draft = `${paths.secret}.new`
  await rm(draft, { force: true })
  const file = await open(draft, 'wx', 0o600)
  try {
    await file.writeFile(`${JSON.stringify(secret)}\n`)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(draft, paths.secret)
  await syncDirectory(paths.directory)
}

export const newPassword = (): string => randomBytes(32).toString('base64url')

// Helpers

const refused = (detail: string, cause?: unknown): AppError =>
  new AppError('postgres_directory_refused', { detail, cause })

async function runInitdb(paths: ClusterPaths, runtime: Runtime, password: string): Promise<void> {
  const passwordFile = join(paths.directory, 'postgres.password')
  await rm(passwordFile, { force: true })
  const file = await open(passwordFile, 'wx', 0o600)
  await file.writeFile(`${password}\n`)
  if (runtime.account) await file.chown(runtime.account.uid, runtime.account.gid)
  await file.close()
  const input = await open(passwordFile, 'r')
  try {
    await run(join(runtime.native, 'bin', 'initdb'), initdbArguments(paths, runtime), {
      ...runtime.account,
      cwd: paths.data,
      env: childEnvironment,
      stdio: [input.fd, 'pipe', 'pipe'],
    })
  } finally {
    await input.close()
    await rm(passwordFile, { force: true })
  }
}

/** The collation is PostgreSQL's own: indexes stay valid whatever the system's C library does. */
const initdbArguments = (paths: ClusterPaths, runtime: Runtime): string[] => [
  ...['-D', dataArgument(paths, runtime)],
  ...['--username', SUPERUSER, '--pwfile', '/dev/stdin', '--auth', 'scram-sha-256'],
  ...['--encoding', 'UTF8', '--locale', 'C', '--locale-provider', 'builtin', '--builtin-locale', 'C.UTF-8'],
]

function run(program: string, args: readonly string[], options: SpawnOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, options)
    const fail = (words: string, cause?: unknown): void =>
      reject(new AppError('postgres_start_failed', { detail: `initdb failed: ${words}`, cause }))
    let errors = ''
    child.stdout?.resume()
    child.stderr?.on('data', (data: Buffer) => {
      errors += data.toString()
    })
    child.once('error', (error) => fail(error.message, error))
    child.once('close', (code) => (code === 0 ? resolve() : fail(errors.trim() || `exit code ${code}`)))
  })
}

async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory)
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
