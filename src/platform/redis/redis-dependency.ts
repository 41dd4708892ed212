/** What the cluster view, health and `mirante doctor` are told of Redis. */
import type { Clock } from '../../kernel/clock.js'
import type { Dependency, DependencyProblem, DependencyReport } from '../../kernel/dependency.js'
import { errorText } from '../../kernel/logger.js'
import type { Redis, RedisNode } from './redis.js'

export interface RedisDependencyOptions {
  readonly redis: Redis
  readonly clock: Pick<Clock, 'now' | 'mono'>
  /** Whether a queue keeps its wake-ups there, which a restart should not forget. */
  readonly keepsJobs: boolean
}

const MEANWHILE =
  'Ownership of numbers is decided by PostgreSQL alone, as always; limits and caches are kept by each process for itself.'
/** Kept for a moment, to see whether the server takes a write. */
const PROBE = { key: 'wbot:probe', ms: 1_000 }
const CLOCKS_APART_MS = 5_000
const ALL_SLOTS = '16384'

export function createRedisDependency({ redis, clock, keepsJobs }: RedisDependencyOptions): Dependency {
  return { name: 'redis', check: () => check().catch((error: unknown) => down(errorText(error))) }

  async function check(): Promise<DependencyReport> {
    const looks = await Promise.all(redis.nodes().map(lookAt))
    // Last: a connection on which a write was refused by a replica is closed, to look for the master anew.
    const refusal = await redis.run('set', PROBE.key, '1', 'PX', PROBE.ms).then(() => undefined, errorText)
    const problems = [...distinct(looks.flatMap(problemsOf)), ...(refusal === undefined ? [] : [refused(refusal)])]
    return {
      name: 'redis',
      status: problems.length > 0 ? 'degraded' : 'up',
      meanwhile: problems.length > 0 ? 'It is used as far as it goes; nothing depends on it.' : null,
      latencyMs: Math.max(...looks.map(({ latencyMs }) => latencyMs)),
      version: looks[0]?.info.get('redis_version') ?? null,
      problems,
    }
  }

  async function lookAt(node: RedisNode): Promise<NodeLook> {
    const [askedAt, sentAt] = [clock.now(), clock.mono()]
    const time = await node.run('time')
    const [answeredAt, latencyMs] = [clock.now(), Math.round((clock.mono() - sentAt) * 10) / 10]
    const info = readInfo(await node.run('info'))
    const clustered = info.get('cluster_enabled') === '1'
    return {
      info,
      latencyMs,
      aheadMs: aheadBy(Number((time as readonly string[])[0]) * 1_000, { askedAt, answeredAt }),
      cluster: clustered ? readInfo(await node.run('cluster', 'info')) : new Map(),
    }
  }

  function problemsOf({ info, cluster, aheadMs }: NodeLook): DependencyProblem[] {
    const found: DependencyProblem[] = []
    const policy = info.get('maxmemory_policy') ?? 'noeviction'
    if (info.get('maxmemory') !== '0' && policy !== 'noeviction') found.push(evictingPolicy(policy))
    if (keepsJobs && info.get('aof_enabled') !== '1') found.push(noPersistence)
    if (info.get('role') === 'slave') found.push(readOnlyReplica)
    if (Math.abs(aheadMs) > CLOCKS_APART_MS) found.push(clockApart(aheadMs))
    if (cluster.size > 0 && !(cluster.get('cluster_slots_ok') === ALL_SLOTS && cluster.get('cluster_state') === 'ok')) {
      found.push(slotsMissing(cluster.get('cluster_slots_ok') ?? '0'))
    }
    return found
  }

  function down(error: string): DependencyReport {
    const problem = {
      code: 'unreachable',
      found: `Redis does not answer: ${redis.trouble ?? error}.`,
      action: 'Look whether it runs and whether REDIS_URL names it, with its password; or unset REDIS_URL.',
    }
    const none = { latencyMs: null, version: null }
    return { name: 'redis', status: 'down', meanwhile: MEANWHILE, ...none, problems: [problem] }
  }
}

interface NodeLook {
  readonly latencyMs: number
  readonly info: ReadonlyMap<string, string>
  /** `CLUSTER INFO`; empty where there is none. */
  readonly cluster: ReadonlyMap<string, string>
  /** How far its clock is ahead of ours, negative: behind. */
  readonly aheadMs: number
}

/** Lines of `name:value`. */
function readInfo(text: unknown): Map<string, string> {
  const lines = String(text).split(/\r?\n/)
  return new Map(lines.flatMap((line) => (line.includes(':') ? [splitOnce(line)] : [])))
}

function splitOnce(line: string): [string, string] {
  const at = line.indexOf(':')
  return [line.slice(0, at), line.slice(at + 1)]
}

/** Nothing as long as its time lies between our question and its answer, give or take the second it is rounded to. */
function aheadBy(
  time: number,
  { askedAt, answeredAt }: { readonly askedAt: number; readonly answeredAt: number },
): number {
  if (time > answeredAt) return time - answeredAt
  return Math.min(0, time + 1_000 - askedAt)
}

/** Several servers of a cluster may have the same. */
const distinct = (problems: readonly DependencyProblem[]): DependencyProblem[] => [
  ...new Map(problems.map((problem) => [problem.code, problem])).values(),
]

const evictingPolicy = (policy: string): DependencyProblem => ({
  code: 'evicting_policy',
  found: `Redis throws keys away when its memory is full (maxmemory-policy ${policy}).`,
  action: 'Set maxmemory-policy noeviction: limits are forgotten otherwise, and a queue loses wake-ups.',
})

const noPersistence: DependencyProblem = {
  code: 'no_persistence',
  found: 'Redis carries the queue and writes no append-only file.',
  action: 'Set appendonly yes: without it a restart forgets the wake-ups, and a sweep has to find the jobs.',
}

const readOnlyReplica: DependencyProblem = {
  code: 'read_only_replica',
  found: 'REDIS_URL names a replica, which takes no writes.',
  action: 'Name the master, or its sentinels: redis+sentinel://host1,host2,host3/<master>.',
}

const slotsMissing = (served: string): DependencyProblem => ({
  code: 'cluster_slots_missing',
  found: `The cluster serves ${served} of its ${ALL_SLOTS} slots.`,
  action: 'Look at redis-cli --cluster check: a master without a replica may be gone.',
})

const clockApart = (aheadMs: number): DependencyProblem => ({
  code: 'clock_apart',
  found: `The clock of Redis is ${Math.round(Math.abs(aheadMs) / 1_000)} s ${aheadMs > 0 ? 'ahead of' : 'behind'} ours.`,
  action: 'Let both machines follow a time server; nothing is decided by these clocks, limits are only less exact.',
})

const refused = (error: string): DependencyProblem => ({
  code: 'refused',
  found: `Redis refuses to write: ${error.slice(0, 200)}.`,
  action: 'Look at its memory, its disk and the rights of the user in REDIS_URL.',
})
