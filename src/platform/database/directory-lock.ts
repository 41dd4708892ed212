/**
 * One process at a time per directory. The lock is a Unix socket in that directory on which the holder listens: the kernel
 * closes it with the process, whatever kills it, so a lock file that nobody listens on is stale for certain. (A pid in a
 * file would not do: pids come round again, and mean nothing in another container that shares the volume.)
 */
import { lstat, open, rename, rm } from 'node:fs/promises'
import { connect, createServer, type Server } from 'node:net'
import { join } from 'node:path'

export interface DirectoryLock {
  release(): Promise<void>
}

export interface LockedBy {
  /** The holder's pid; undefined when it does not answer, as a frozen one. */
  readonly pid: number | undefined
}

const ANSWER_MS = 2_000
/** A socket's path must fit into `sockaddr_un`: 108 bytes on Linux, 104 elsewhere, with the closing zero. */
const MAX_SOCKET_PATH = 103

/** Takes the lock `name` in the directory, or says who has it. */
export async function lockDirectory(directory: string, name: string): Promise<DirectoryLock | LockedBy> {
  const path = join(directory, name)
  const address = await socketAddress(directory, name)
  for (;;) {
    const server = await listen(address.path)
    if (server) return { release: () => close(server).finally(address.close) }
    const seen = await identityOf(path)
    const holder = await ask(address.path)
    if (holder) {
      await address.close()
      return holder
    }
    if (seen !== undefined) await removeStale(path, seen)
  }
}

// Helpers

/** The path by which the socket is bound. It must stay valid until the socket is closed, which removes the file by it. */
async function socketAddress(directory: string, name: string): Promise<{ path: string; close: () => Promise<void> }> {
  const path = join(directory, name)
  if (Buffer.byteLength(path) <= MAX_SOCKET_PATH) return { path, close: async () => {} }
  if (process.platform !== 'linux') throw new Error(`the path ${path} is too long for a socket: use a shorter one`)
  const handle = await open(directory)
  return { path: `/proc/self/fd/${handle.fd}/${name}`, close: () => handle.close() }
}

/** Undefined when the socket is there already. */
function listen(path: string): Promise<Server | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => {
      socket.on('error', () => {})
      socket.end(`${process.pid}\n`)
    })
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') return resolve(undefined)
      reject(error)
    })
    server.listen(path, () => {
      // Holding the lock is no reason for a process to live.
      server.unref()
      resolve(server)
    })
  })
}

/** Undefined when nobody listens. */
function ask(path: string): Promise<LockedBy | undefined> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path, timeout: ANSWER_MS })
    let answer = ''
    socket.on('data', (data) => {
      answer += data.toString('latin1')
    })
    socket.once('end', () => resolve({ pid: Number.parseInt(answer, 10) || undefined }))
    socket.once('timeout', () => {
      socket.destroy()
      resolve({ pid: undefined })
    })
    socket.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED' || error.code === 'ENOENT') return resolve(undefined)
      // The holder died while we asked.
      if (error.code === 'ECONNRESET') return resolve(undefined)
      reject(error)
    })
  })
}

/**
 * Removes the stale socket that was seen, and no other: between the look and the removal another starter may have removed
 * it and put its own there, which then goes back to its place.
 */
async function removeStale(path: string, seen: string): Promise<void> {
  const aside = `${path}.${process.pid}.stale`
  try {
    await rename(path, aside)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return
    throw error
  }
  if ((await identityOf(aside)) === seen) return rm(aside, { force: true })
  await rename(aside, path)
}

/** Inode numbers are used again at once; together with the time of making they are not. */
async function identityOf(path: string): Promise<string | undefined> {
  try {
    const { ino, mtimeNs } = await lstat(path, { bigint: true })
    return `${ino} ${mtimeNs}`
  } catch {
    return undefined
  }
}

const close = (server: Server): Promise<void> => new Promise((resolve) => server.close(() => resolve()))
