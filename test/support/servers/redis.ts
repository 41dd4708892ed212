/**
 * Redis servers of a test's own, on free ports with data directories of their own, to be killed, wiped and reconfigured as the
 * test likes. Never the one on 6379. Ends what it started by its pid.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { freePort } from '../launch.js'

export interface RedisServer {
  readonly url: string
  readonly port: number
  readonly pid: number
  /** One command, as redis-cli takes it; resolves to what it prints. */
  cli(...command: readonly string[]): Promise<string>
  /** FLUSHALL. */
  flush(): Promise<void>
  /** kill -9. Without `appendOnly` all data is gone with it. */
  kill(): Promise<void>
  /** Starts it again after `kill`, on the same port and directory. */
  restart(): Promise<void>
  stop(): Promise<void>
}

export interface RedisOptions {
  /** Writes each command to disk, fsync every second. @default false: what is killed has forgotten everything */
  readonly appendOnly?: boolean
  readonly replicaOf?: RedisServer
  readonly password?: string
  /** Lines of redis.conf: `{ maxmemory: '2mb', 'maxmemory-policy': 'allkeys-lru' }`. */
  readonly settings?: Readonly<Record<string, string>>
  readonly env?: Readonly<Record<string, string>>
}

const run = promisify(execFile)

export async function startRedis(options: RedisOptions = {}): Promise<RedisServer> {
  const { appendOnly = false, replicaOf, password, settings = {}, env } = options
  const port = await freePort()
  const lines = {
    appendonly: appendOnly ? 'yes' : 'no',
    save: '""',
    ...(replicaOf && { replicaof: `127.0.0.1 ${replicaOf.port}`, 'repl-diskless-sync-delay': '0' }),
    ...(password && { requirepass: password, masterauth: password }),
    ...settings,
  }
  return startProcess({ port, lines, ...(password && { password }), ...(env && { env }) })
}

export interface RedisWithSentinels {
  readonly url: string
  readonly master: RedisServer
  readonly replicas: readonly RedisServer[]
  readonly sentinels: readonly RedisServer[]
  stop(): Promise<void>
}

/** A master, a replica, and three sentinels that fail over after a second. */
export async function startRedisWithSentinels(options: RedisOptions = {}): Promise<RedisWithSentinels> {
  const master = await startRedis(options)
  const replica = await startRedis({ ...options, replicaOf: master })
  const sentinels = await Promise.all([1, 2, 3].map(() => startSentinel(master, options.password)))
  await until('the sentinels know each other and the replica', async () => {
    const answers = await Promise.all(sentinels.map((sentinel) => sentinel.cli('sentinel', 'master', 'mirante')))
    return answers.every((text) => field(text, 'num-other-sentinels') === '2' && field(text, 'num-slaves') === '1')
  })
  const hosts = sentinels.map(({ port }) => `127.0.0.1:${port}`).join()
  const all = [...sentinels, replica, master]
  return {
    url: `redis+sentinel://${options.password ? `:${options.password}@` : ''}${hosts}/mirante`,
    master,
    replicas: [replica],
    sentinels,
    stop: async () => void (await Promise.all(all.map((server) => server.stop()))),
  }
}

export interface RedisCluster {
  readonly url: string
  readonly nodes: readonly RedisServer[]
  stop(): Promise<void>
}

/** Three masters that share the slots. */
export async function startRedisCluster(): Promise<RedisCluster> {
  const settings = { 'cluster-enabled': 'yes', 'cluster-node-timeout': '2000' }
  const nodes = await Promise.all([1, 2, 3].map(() => startRedis({ settings })))
  const hosts = nodes.map(({ port }) => `127.0.0.1:${port}`)
  await run('redis-cli', ['--cluster', 'create', ...hosts, '--cluster-yes'])
  await until('every node sees the cluster as whole', async () => {
    const answers = await Promise.all(nodes.map((node) => node.cli('cluster', 'info')))
    return answers.every((text) => text.includes('cluster_state:ok') && text.includes('cluster_known_nodes:3'))
  })
  return {
    url: `redis+cluster://${hosts.join()}`,
    nodes,
    stop: async () => void (await Promise.all(nodes.map((node) => node.stop()))),
  }
}

// Helpers

async function startSentinel(master: RedisServer, password: string | undefined): Promise<RedisServer> {
  const port = await freePort()
  return startProcess({
    port,
    flags: ['--sentinel'],
    text: [
      `sentinel monitor mirante 127.0.0.1 ${master.port} 2`,
      ...(password ? [`sentinel auth-pass mirante ${password}`] : []),
      'sentinel down-after-milliseconds mirante 1000',
      'sentinel failover-timeout mirante 4000',
    ],
  })
}

interface ProcessOptions {
  readonly port: number
  readonly lines?: Readonly<Record<string, string>>
  readonly text?: readonly string[]
  readonly flags?: readonly string[]
  readonly password?: string
  readonly env?: Readonly<Record<string, string>>
}

async function startProcess(options: ProcessOptions): Promise<RedisServer> {
  const { port, lines = {}, text = [], flags = [], password } = options
  const directory = mkdtempSync(join(tmpdir(), 'mirante-redis-'))
  const file = join(directory, 'redis.conf')
  const all = { port, bind: '127.0.0.1', dir: directory, 'protected-mode': 'no', daemonize: 'no', ...lines }
  writeFileSync(file, [...Object.entries(all).map(([name, value]) => `${name} ${value}`), ...text, ''].join('\n'))
  let child = await boot()

  return {
    url: password ? `redis://:${password}@127.0.0.1:${port}` : `redis://127.0.0.1:${port}`,
    port,
    get pid() {
      return child.pid ?? 0
    },
    cli,
    flush: async () => void (await cli('flushall')),
    kill: () => end('SIGKILL'),
    async restart() {
      await end('SIGKILL')
      child = await boot()
    },
    async stop() {
      await end('SIGKILL')
      rmSync(directory, { recursive: true, force: true })
    },
  }

  async function boot(): Promise<ChildProcess> {
    const started = spawn('redis-server', [file, ...flags], {
      cwd: directory,
      env: { ...process.env, ...options.env },
      stdio: 'ignore',
    })
    await until('redis-server answers', async () => {
      if (!isAlive(started)) throw new Error(`redis-server ended with ${started.exitCode ?? started.signalCode}`)
      return (await cli('ping').catch(() => '')).trim() === 'PONG'
    })
    return started
  }

  async function cli(...command: readonly string[]): Promise<string> {
    const login = password ? ['-a', password, '--no-auth-warning'] : []
    const { stdout } = await run('redis-cli', ['-p', String(port), ...login, ...command])
    return stdout
  }

  async function end(signal: NodeJS.Signals): Promise<void> {
    if (!isAlive(child)) return
    const exited = once(child, 'exit')
    child.kill(signal)
    await exited
  }
}

const isAlive = (child: ChildProcess): boolean => child.exitCode === null && child.signalCode === null

/** redis-cli prints a map as lines of names and values in turn. */
function field(text: string, name: string): string | undefined {
  const lines = text.split('\n')
  const at = lines.indexOf(name)
  return at < 0 ? undefined : lines[at + 1]
}

async function until(what: string, condition: () => Promise<boolean>): Promise<void> {
  for (let attempt = 0; attempt < 600; attempt++) {
    if (await condition()) return
    await sleep(50)
  }
  throw new Error(`waited in vain until ${what}`)
}
