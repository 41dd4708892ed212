/** One PostgreSQL of a test's own on a data directory that is there already, run as an account that PostgreSQL accepts. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, chownSync, mkdirSync, mkdtempSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'

export interface PostgresNode {
  readonly port: number
  /** As the superuser, in the database `postgres`. */
  readonly url: string
  readonly pid: number
  /** kill -9 of the postmaster and all its children, as when the machine dies. Resolves when it has gone. */
  kill(): Promise<void>
  /** SIGSTOP to all of it, as when the machine stands still: connections stay open and nothing answers. */
  freeze(): void
  thaw(): void
  /** Immediate shutdown. Idempotent. */
  stop(): Promise<void>
}

export interface NodeOptions {
  /** The folder with `postgres` in it. */
  readonly bin: string
  readonly directory: string
  readonly port: number
  /** Given to the server on its command line. */
  readonly settings: Readonly<Record<string, string>>
  readonly env?: NodeJS.ProcessEnv
}

interface Account {
  readonly uid: number
  readonly gid: number
}

/** Where PostgreSQL runs as: it refuses root. Undefined: the account of this process. */
export function postgresAccount(): Account | undefined {
  return process.getuid?.() === 0 ? unprivilegedUser() : undefined
}

/** A folder for data directories that PostgreSQL may enter. */
export function makeClusterFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'mirante-pg-'))
  chmodSync(folder, 0o700)
  give(folder)
  return folder
}

/** An empty data directory in such a folder. */
export function makeDataDirectory(directory: string): void {
  mkdirSync(directory, { mode: 0o700 })
  give(directory)
}

/** Runs one of PostgreSQL's programs to its end, as the account that owns the data. Its words are part of the error. */
export function runProgram(bin: string, name: string, args: readonly string[], cwd: string): void {
  execFileSync(join(bin, name), args, { ...postgresAccount(), cwd, stdio: ['ignore', 'ignore', 'pipe'] })
}

/** Who may connect, and from where: everybody, from this machine. */
export const INITDB_ARGS = ['-U', 'postgres', '-A', 'trust', '--no-sync', '-E', 'UTF8']

/** Resolves when it answers. */
export async function startNode({ bin, directory, port, settings, env }: NodeOptions): Promise<PostgresNode> {
  const all = { listen_addresses: '127.0.0.1', unix_socket_directories: directory, max_connections: '200', ...settings }
  const flags = Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`])
  const child = spawn(join(bin, 'postgres'), ['-D', directory, '-p', String(port), ...flags], {
    ...postgresAccount(),
    cwd: directory,
    env: env ?? process.env,
    stdio: 'ignore',
  })
  const url = `postgres://postgres@127.0.0.1:${port}/postgres`
  await answers(url, child)
  return {
    port,
    url,
    pid: child.pid ?? 0,
    async kill() {
      signalTree(child, 'SIGKILL')
      await ended(child)
    },
    freeze: () => signalTree(child, 'SIGSTOP'),
    thaw: () => signalTree(child, 'SIGCONT'),
    async stop() {
      if (isOver(child)) return
      signalTree(child, 'SIGCONT')
      child.kill('SIGQUIT')
      await ended(child)
    },
  }
}

// Helpers

/** The postmaster first: it must not see its children die and start others. */
function signalTree(child: ChildProcess, signal: NodeJS.Signals): void {
  if (isOver(child) || child.pid === undefined) return
  const children = childrenOf(child.pid)
  for (const pid of [child.pid, ...children]) {
    try {
      process.kill(pid, signal)
    } catch {
      // It ended by itself meanwhile.
    }
  }
}

function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number)
}

const isOver = (child: ChildProcess): boolean => child.exitCode !== null || child.signalCode !== null

async function ended(child: ChildProcess): Promise<void> {
  if (!isOver(child)) await once(child, 'exit')
}

function give(path: string): void {
  const account = postgresAccount()
  if (account) chownSync(path, account.uid, account.gid)
}

function unprivilegedUser(): Account {
  for (const name of ['postgres', 'nobody']) {
    try {
      const id = (flag: string) => Number(execFileSync('id', [flag, name], { encoding: 'utf8' }))
      return { uid: id('-u'), gid: id('-g') }
    } catch {
      // No such user: try the next.
    }
  }
  throw new Error('running as root, and there is no user to run PostgreSQL as')
}

async function answers(url: string, child: ChildProcess): Promise<void> {
  for (let attempt = 0; attempt < 600 && !isOver(child); attempt++) {
    const client = new pg.Client({ connectionString: url })
    client.on('error', () => {})
    try {
      await client.connect()
      await client.end()
      return
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
  throw new Error('the PostgreSQL did not start')
}
