/**
 * Media in a directory of this machine (or of a network file system that all replicas share). A file is written under
 * another name, flushed, and renamed: under its own name it is whole. Files are fanned out over 256 directories a folder,
 * by the end of their name, which is the random part of our ids. Nobody but the owner may read them.
 */
import { createHash, randomUUID } from 'node:crypto'
import { type FileHandle, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { assertKey, type MediaStorage, StorageError, type StoredFile } from './media.js'

/** Drafts of processes that died while writing; nobody writes for so long. */
const ABANDONED_AFTER_MS = 24 * 3_600_000
const DRAFTS = '.drafts'

export function createDirectoryStorage(root: string): MediaStorage {
  const drafts = join(root, DRAFTS)
  let ready: Promise<unknown> | undefined

  return {
    async put(key, content) {
      const path = pathOf(key)
      await prepare()
      const draft = join(drafts, randomUUID())
      try {
        const written = await write(draft, content)
        await told(makeDirectory(dirname(path)))
        await told(rename(draft, path))
        await told(syncDirectory(dirname(path)))
        return { key, ...written }
      } catch (error) {
        await rm(draft, { force: true }).catch(() => undefined)
        throw error
      }
    },
    async open(key, range) {
      const file = await told(open(pathOf(key), 'r'))
      return file.createReadStream(range ? { start: range.start, end: range.end } : {})
    },
    async exists(key) {
      try {
        await told(stat(pathOf(key)))
        return true
      } catch (error) {
        if (error instanceof StorageError && error.code === 'missing') return false
        throw error
      }
    },
    async remove(key) {
      await told(rm(pathOf(key), { force: true }))
    },
  }

  function pathOf(key: string): string {
    assertKey(key)
    const name = basename(key)
    return join(root, dirname(key), name.slice(-2), name)
  }

  function prepare(): Promise<unknown> {
    ready ??= told(mkdir(drafts, { recursive: true, mode: 0o700 })).then(removeAbandoned)
    ready.catch(() => {
      ready = undefined
    })
    return ready
  }

  async function removeAbandoned(): Promise<void> {
    const before = Date.now() - ABANDONED_AFTER_MS
    for (const name of await readdir(drafts)) {
      const draft = join(drafts, name)
      const found = await stat(draft).catch(() => undefined)
      if (found && found.mtimeMs < before) await rm(draft, { force: true })
    }
  }
}

async function write(path: string, content: AsyncIterable<Uint8Array>): Promise<Omit<StoredFile, 'key'>> {
  const file = await told(open(path, 'wx', 0o600))
  try {
    const hash = createHash('sha256')
    let size = 0
    for await (const chunk of content) {
      hash.update(chunk)
      size += chunk.length
      await told(writeAll(file, chunk))
    }
    await told(file.sync())
    return { size, sha256: hash.digest() }
  } finally {
    await file.close()
  }
}

async function writeAll(file: FileHandle, chunk: Uint8Array): Promise<void> {
  for (let written = 0; written < chunk.length; ) {
    written += (await file.write(chunk, written)).bytesWritten
  }
}

/** A new directory is durable when the one above it is. */
async function makeDirectory(path: string): Promise<void> {
  const first = await mkdir(path, { recursive: true, mode: 0o700 })
  for (let made = path; first !== undefined && made.length >= first.length; made = dirname(made)) {
    await syncDirectory(dirname(made))
  }
}

/** A rename is durable when its directory is. */
async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r')
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}

/** What the file system says, in the words of the port; the content's own errors pass by. */
async function told<Value>(work: Promise<Value>): Promise<Value> {
  try {
    return await work
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? ''
    if (code === 'ENOENT') throw new StorageError('missing', { cause })
    throw new StorageError(/^(ENOSPC|EDQUOT|EMFILE|ENFILE)$/.test(code) ? 'full' : 'failed', { cause })
  }
}
