/**
 * Several built Mirantes on one PostgreSQL and one simulated WhatsApp, each of which can be frozen, killed, ended in peace and
 * started again while the others go on. What the database accepts from whom is watched (write-audit.ts).
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { type Cluster, startCluster } from '../cluster.js'
import type { MiranteProcess, Place, SimulatorProcess } from '../launch.js'
import { type ApiAnswer, type ApiOptions, launchMirante, launchSimulator } from '../launch.js'
import { signalProcess, signalTree, treeOf } from '../process-tree.js'
import { installWriteAudit } from './write-audit.js'

export interface ReplicasOptions {
  readonly seed: number
  /** How many; they are called r1, r2 … Default: 2. */
  readonly count?: number
  /** What they are called, in place of that. */
  readonly names?: readonly string[]
  /** The PostgreSQL to use, in place of one of their own; whoever started it ends it. */
  readonly cluster?: Cluster
  /** For all of them: REDIS_URL, QUEUE_URL, GATEWAYS, LEASE_TTL_MS … */
  readonly env?: Environment
  /** What one of them has besides. */
  readonly envOf?: (name: string) => Environment
  /** Where one of them runs. Default: beside the test. */
  readonly placeOf?: (name: string) => Place | undefined
  /** What to run in place of `serve`: the path of a script and its arguments. */
  readonly command?: readonly string[]
  /** Of `serve`. */
  readonly flags?: readonly string[]
  readonly simulatorFlags?: readonly string[]
  /** Of PostgreSQL. */
  readonly settings?: Environment
}

type Environment = Readonly<Record<string, string>>

/** running: it may be talked to. frozen: SIGSTOP. down: killed, ended, or on its way to it, or starting. */
export type ReplicaState = 'running' | 'frozen' | 'down'

export interface Replica {
  readonly name: string
  readonly process: MiranteProcess
  readonly state: ReplicaState
}

export interface Replicas {
  readonly cluster: Cluster
  readonly simulator: SimulatorProcess
  readonly all: readonly Replica[]
  /** As a superuser, for judging. It outlives restarts of PostgreSQL. */
  readonly db: pg.Pool
  replica(name: string): Replica
  /** One API call to a replica that runs, each call to the next one; rejects when it does not answer in time. */
  api(method: string, path: string, options?: ApiOptions): Promise<ApiAnswer>
  /** Replica by the number (digits) that it holds; numbers that nobody holds are left out. */
  holders(): Promise<Map<string, string>>
  /** The running replica that holds most numbers. */
  busiest(): Promise<Replica>
  /** SIGSTOP of all its processes. */
  freeze(replica: Replica): void
  thaw(replica: Replica): void
  /** kill -9 of all its processes. */
  kill(replica: Replica): void
  /** SIGTERM; resolves when it has ended. */
  terminate(replica: Replica): Promise<void>
  /** Starts what was killed or has ended, on the same port and directory; resolves when it is ready. */
  start(replica: Replica): Promise<void>
  /** Ends everything and removes it. Throws when the simulator was asked what it does not know. */
  stop(): Promise<void>
}

interface Managed extends Replica {
  state: ReplicaState
}

const ENCRYPTION_KEY = Buffer.alloc(32, 7).toString('base64')
/** Stanzas that the simulator remembers: all messages of a run, which sends.ts reads. */
const TRACE_LIMIT = 2_000_000

export async function startReplicas(options: ReplicasOptions): Promise<Replicas> {
  const opened: (() => Promise<unknown>)[] = []
  const stop = async (): Promise<void> => {
    const failures: unknown[] = []
    for (const close of opened.splice(0).reverse()) await close().catch((error: unknown) => failures.push(error))
    if (failures.length > 0) throw failures[0]
  }
  try {
    return { ...(await open(options, (close) => opened.push(close))), stop }
  } catch (error) {
    await stop().catch(() => undefined)
    throw error
  }
}

async function open(
  options: ReplicasOptions,
  atStop: (close: () => Promise<unknown>) => void,
): Promise<Omit<Replicas, 'stop'>> {
  const { seed, count = 2, simulatorFlags = [], settings = {} } = options
  const directory = mkdtempSync(join(tmpdir(), 'mirante-replicas-'))
  atStop(async () => rmSync(directory, { recursive: true, force: true }))
  const cluster = options.cluster ?? (await startCluster({ settings }))
  if (!options.cluster) atStop(() => cluster.stop())
  const trace = ['--trace-limit', String(TRACE_LIMIT)]
  const simulator = await launchSimulator(['--seed', String(seed), '--latency-ms', '0', ...trace, ...simulatorFlags])
  atStop(() => simulator.stop())

  const all: Managed[] = []
  const names = options.names ?? Array.from({ length: count }, (_, index) => `r${index + 1}`)
  for (const name of names) all.push(await launch(name))
  const db = new pg.Pool({ connectionString: cluster.url, max: 2 })
  db.on('error', () => {})
  atStop(() => db.end())
  await installWriteAudit(db)
  let next = 0

  return {
    cluster,
    simulator,
    all,
    db,
    replica: find,
    async api(method, path, apiOptions) {
      const running = all.filter(({ state }) => state === 'running')
      next += 1
      const chosen = running[next % running.length]
      if (!chosen) throw new Error('no replica is running')
      return chosen.process.api(method, path, apiOptions)
    },
    holders: () => holdersOf(db),
    async busiest() {
      const counts = new Map<string, number>()
      for (const name of (await holdersOf(db)).values()) counts.set(name, (counts.get(name) ?? 0) + 1)
      const running = all.filter(({ state }) => state === 'running')
      const [first] = running.toSorted((a, b) => (counts.get(b.name) ?? 0) - (counts.get(a.name) ?? 0))
      if (!first) throw new Error('no replica is running')
      return first
    },
    freeze({ name }) {
      const replica = find(name)
      replica.state = 'frozen'
      signalTree(replica.process.pid, 'SIGSTOP')
    },
    thaw({ name }) {
      const replica = find(name)
      signalTree(replica.process.pid, 'SIGCONT')
      replica.state = 'running'
    },
    kill({ name }) {
      const replica = find(name)
      replica.state = 'down'
      killTree(replica.process.pid)
    },
    async terminate({ name }) {
      const replica = find(name)
      replica.state = 'down'
      await replica.process.stop()
    },
    async start({ name }) {
      const replica = find(name)
      await replica.process.restart()
      replica.state = 'running'
    },
  }

  function find(name: string): Managed {
    const found = all.find((replica) => replica.name === name)
    if (!found) throw new Error(`there is no replica ${name}`)
    return found
  }

  async function launch(name: string): Promise<Managed> {
    const own = join(directory, name)
    mkdirSync(own)
    const place = options.placeOf?.(name)
    const process = await launchMirante({
      simulator,
      directory: own,
      ...(place && { place }),
      // Each would say that it is ready, again and again.
      output: globalThis.process.env.LOG_LEVEL ? 'inherit' : 'ignore',
      ...(options.command && { command: options.command }),
      ...(options.flags && { flags: options.flags }),
      env: {
        // The audit knows writers by the name of their connections.
        DATABASE_URL: `${cluster.url}?application_name=${encodeURIComponent(`mirante ${name}`)}`,
        REPLICA_NAME: name,
        ENCRYPTION_KEY,
        STORAGE_URL: `file://${join(directory, 'media')}`,
        LOG_LEVEL: globalThis.process.env.LOG_LEVEL ?? 'error',
        ...options.env,
        ...options.envOf?.(name),
      },
    })
    atStop(async () => {
      signalTree(process.pid, 'SIGCONT')
      await process.stop()
    })
    return { name, process, state: 'running' }
  }
}

async function holdersOf(db: pg.Pool): Promise<Map<string, string>> {
  const { rows } = await db.query<{ phone: string; replica: string }>(`
    select ltrim(i.phone, '+') as phone, p.replica
    from instance i join lease l on l.resource = 'instance:' || i.id join process p on p.incarnation = l.holder
    where i.phone is not null and i.deleted_at is null`)
  return new Map(rows.map(({ phone, replica }) => [phone, replica]))
}

/** Frozen first, so that none of them sees another one die, or starts one. */
function killTree(root: number): void {
  signalTree(root, 'SIGSTOP')
  for (const pid of treeOf(root)) signalProcess(pid, 'SIGKILL')
}
