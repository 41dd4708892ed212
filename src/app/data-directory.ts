/** The one data directory: made private, held by one supervisor, keeper of the generated encryption key. */
import {
  closeSync,
  existsSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { newKey } from '../kernel/crypto.js'
import { type DirectoryLock, lockDirectory } from '../platform/database/directory-lock.js'
import { variables } from './config-variables.js'

export class DirectoryInUseError extends Error {
  constructor(directory: string, pid: number | undefined) {
    const holder = pid === undefined ? 'that does not answer' : `(process ${pid})`
    super(
      `${directory} is in use by another Mirante ${holder}. End it, or set SESSION_STORAGE_PATH to another directory.`,
    )
    this.name = 'DirectoryInUseError'
  }
}

/** Makes the directory if need be, and holds it until `release` or the end of the process. Throws DirectoryInUseError. */
export async function openDataDirectory(path: string): Promise<DirectoryLock> {
  mkdirSync(path, { recursive: true, mode: 0o700 })
  const lock = await lockDirectory(path, 'supervisor.lock')
  if ('release' in lock) return lock
  throw new DirectoryInUseError(path, lock.pid)
}

export interface FoundKey {
  readonly key: Buffer
  readonly file: string
  /** Made just now: tell the operator to keep it. */
  readonly generated: boolean
}

/** The key of the directory, made at the first call. A file that is not a key is an error, never replaced. */
export function directoryKey(path: string): FoundKey {
  const file = join(path, 'encryption-key')
  const generated = writeNew(file, `${newKey().toString('base64')}\n`)
  const parsed = variables.encryptionKey.schema.safeParse(readFileSync(file, 'utf8').trim())
  if (!parsed.success)
    throw new Error(`${file} is not an encryption key; put the right file back, or set ENCRYPTION_KEY`)
  return { key: parsed.data, file, generated }
}

/** Whole or not at all, even where the machine stops in between; false when the file exists. */
function writeNew(file: string, content: string): boolean {
  if (existsSync(file)) return false
  const draft = `${file}.${process.pid}`
  writeDurably(draft, content)
  try {
    linkSync(draft, file)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  } finally {
    rmSync(draft, { force: true })
  }
}

function writeDurably(file: string, content: string): void {
  const descriptor = openSync(file, 'w', 0o600)
  try {
    writeSync(descriptor, content)
    fsyncSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
}
