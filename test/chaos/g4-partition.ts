/**
 * G4, partition: one of two replicas runs in a network namespace, and packets between it and one server are dropped while its
 * numbers are under load. Without PostgreSQL, cut both ways or losing only its answers: its sends stop within 5 s, the other
 * replica takes over within TTL + 10 s, and once healed it holds its share again. Without Redis: no number changes its holder,
 * none is silent for longer than before. Throughout nothing is lost, doubled, reordered or stale, no login is lost, no QR needed.
 * Times are judged in the full run only. No control of its own: who skips the fence is G1's, who trusts Redis G3's, and neither
 * can write through a cut; instead each cut must be seen to drop packets, and a replica without PostgreSQL to be not ready.
 * Linux, root. `tsx test/chaos/g4-partition.ts [--reduced] [--seed N] [--numbers N] [--phase redis|both|replies …]`; exit 1 on failure.
 */
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { type Cluster, startCluster } from '../support/cluster.js'
import { requireDebian } from '../support/debian.js'
import { eventually } from '../support/eventually.js'
import { type Cut, createNetworkNamespace, type NetworkNamespace } from '../support/network-namespace.js'
import { createJudge, problemsOf } from '../support/replicas/judge.js'
import { startLoad } from '../support/replicas/load.js'
import { pairMany } from '../support/replicas/numbers.js'
import { type Replicas, startReplicas } from '../support/replicas/replicas.js'
import { describeTimes, longestSilenceMs, readSends } from '../support/replicas/sends.js'
import { makeClusterFolder } from '../support/servers/postgres-node.js'
import { type RedisServer, startRedis } from '../support/servers/redis.js'

const { values } = parseArgs({
  options: {
    reduced: { type: 'boolean', default: false },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    numbers: { type: 'string' },
    phase: { type: 'string', multiple: true, default: ['redis', 'both', 'replies'] },
  },
})
const unknown = values.phase.find((phase) => !['redis', 'both', 'replies'].includes(phase))
if (unknown !== undefined) throw new Error(`there is no phase ${unknown}: redis, both, replies`)
const seed = Number(values.seed)
const size = values.reduced
  ? { numbers: 10, ttlMs: 15_000, cutMs: 25_000, calmMs: 5_000 }
  : { numbers: 20, ttlMs: 45_000, cutMs: 60_000, calmMs: 15_000 }
const count = Number(values.numbers ?? size.numbers)
const PER_NUMBER_PER_SECOND = 1
const PERIOD_MS = 1_000 / PER_NUMBER_PER_SECOND
const STOPS_WITHIN_MS = 5_000
const TAKEN_WITHIN_MS = size.ttlMs + 10_000
/** Of the longest silence without a fault; and below this nothing is told from the machine's own moods. */
const TIMES_BASELINE = 2
const NOISE_MS = 2_000
/** Bounds against hanging. */
const BACK_WITHIN_MS = 4 * size.ttlMs + 120_000
const SETTLED_WITHIN_MS = 240_000
/** The one in the namespace, and the other. */
const [CUT_OFF, OTHER] = ['r1', 'r2']

console.log(
  `G4 partition, seed ${seed}, ${values.reduced ? 'reduced' : 'full'}: ${count} numbers, TTL ${size.ttlMs} ms`,
)
requireDebian(['iproute2', 'iptables', 'redis-server'])
const opened: (() => unknown)[] = []
let closing: Promise<void> | undefined
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => void closeAll().finally(() => process.exit(130)))
}
const failures = await run().finally(closeAll)
for (const failure of failures) console.log(`  FAILED: ${failure}`)
console.log(failures.length === 0 ? 'G4 holds' : 'G4 does not hold')
process.exit(failures.length === 0 ? 0 : 1)

interface World {
  readonly replicas: Replicas
  readonly namespace: NetworkNamespace
  readonly postgresPort: number
  readonly redis: RedisServer
}

async function run(): Promise<string[]> {
  const world = await startWorld()
  const { replicas } = world
  const numbers = await pairMany(replicas, count)
  const accounts = numbers.map(({ account }) => account)
  await sharesAreEven(replicas)
  const judge = await createJudge(replicas, numbers)
  const load = startLoad(replicas, numbers, {
    perNumberPerSecond: PER_NUMBER_PER_SECOND,
    inboundPerNumberPerSecond: 0.2,
  })
  const from = Date.now()
  await sleep(size.calmMs)
  const baseline = await silencesSince(replicas, accounts, from)
  console.log(`  before: silent ${describeTimes(baseline)}`)

  const wrong: string[] = []
  const late: string[] = []
  for (const phase of values.phase) {
    const seen =
      phase === 'redis'
        ? await withoutRedis(world, accounts, Math.max(...baseline))
        : await withoutPostgres(world, phase as Cut)
    wrong.push(...seen.wrong)
    late.push(...seen.late)
    await sharesAreEven(replicas)
    console.log('  healed: each replica holds its share again')
  }
  await load.stop()
  const settled = await judge.settle(load, SETTLED_WITHIN_MS)
  const verdict = await judge.judge(load)
  console.log(JSON.stringify(verdict, null, 1))
  return [...wrong, ...(values.reduced ? [] : late), ...(settled ? [] : ['it never settled']), ...problemsOf(verdict)]
}

async function startWorld(): Promise<World> {
  const namespace = createNetworkNamespace()
  opened.push(() => namespace.remove())
  const { hostAddress, subnet } = namespace
  const cluster = await startReachableCluster(namespace)
  const redis = await startRedis({ settings: { bind: `127.0.0.1 ${hostAddress}` } })
  opened.push(() => redis.stop())
  const redisOf = (host: string) => ({ REDIS_URL: `redis://${host}:${redis.port}` })
  const starting = startReplicas({
    seed,
    cluster,
    simulatorFlags: ['--host', hostAddress],
    env: { LEASE_TTL_MS: String(size.ttlMs), EGRESS_ALLOW: `127.0.0.0/8,${subnet}`, ...redisOf('127.0.0.1') },
    placeOf: (name) => (name === CUT_OFF ? namespace.place : undefined),
    envOf: (name) =>
      name === CUT_OFF
        ? {
            DATABASE_URL: `${cluster.url.replace('127.0.0.1', hostAddress)}?application_name=mirante%20${name}`,
            ...redisOf(hostAddress),
          }
        : {},
  })
  opened.push(async () => {
    // Whoever is still cut off could not end in peace.
    namespace.heal()
    await starting.then(
      (replicas) => replicas.stop(),
      () => undefined,
    )
  })
  return { replicas: await starting, namespace, postgresPort: Number(new URL(cluster.url).port), redis }
}

async function startReachableCluster({ hostAddress, subnet }: NetworkNamespace): Promise<Cluster> {
  const folder = makeClusterFolder()
  opened.push(() => rmSync(folder, { recursive: true, force: true }))
  const file = join(folder, 'pg_hba.conf')
  writeFileSync(file, ['127.0.0.1/32', subnet].map((range) => `host all all ${range} trust\n`).join(''))
  const cluster = await startCluster({
    settings: { listen_addresses: `127.0.0.1,${hostAddress}`, hba_file: file },
  })
  opened.push(() => cluster.stop())
  return cluster
}

// The phases: each resolves to what is wrong, and what came later than promised

interface Seen {
  readonly wrong: readonly string[]
  readonly late: readonly string[]
}

async function withoutPostgres({ replicas, namespace, postgresPort }: World, what: Cut): Promise<Seen> {
  const accounts = await heldBy(replicas, CUT_OFF)
  const cutAt = Date.now()
  namespace.cut(postgresPort, what)
  const sessions = sessionsEnd(replicas, cutAt)
  await sleep(size.cutMs)
  await eventually(async () => (await heldBy(replicas, OTHER)).length === count, 'the other takes over', BACK_WITHIN_MS)
  const isReady = await replicas
    .replica(CUT_OFF)
    .process.ready(1_000)
    .then(
      () => true,
      () => false,
    )
  const dropped = namespace.dropped()
  namespace.heal()
  console.log(`  PostgreSQL cut, ${what}: ${accounts.length} numbers, ${dropped} packets dropped; ${await sessions}`)

  const sends = await readSends(replicas.simulator)
  const taken = await takenAfter(replicas, cutAt)
  const lastSends = accounts.map((account) => {
    const until = taken.get(account) ?? Number.POSITIVE_INFINITY
    return Math.max(0, ...(sends.get(account) ?? []).filter((at) => at > cutAt && at < until).map((at) => at - cutAt))
  })
  const takeovers = accounts.map((account) => (taken.get(account) ?? Number.POSITIVE_INFINITY) - cutAt)
  const silences = accounts.map((account) => longestSilenceMs(sends, account, { from: cutAt, to: Date.now() }))
  console.log(`    its last sends: ${describeTimes(lastSends)}, promised ${STOPS_WITHIN_MS / 1_000} s`)
  console.log(`    taken over after ${describeTimes(takeovers)}, promised ${TAKEN_WITHIN_MS / 1_000} s`)
  console.log(`    silent ${describeTimes(silences)}`)
  return {
    wrong: [
      ...(accounts.length === 0 ? [`${what}: the replica that was cut off held nothing`] : []),
      ...(dropped === 0 ? [`${what}: the cut dropped nothing`] : []),
      ...(isReady ? [`${what}: a replica without PostgreSQL said that it is ready`] : []),
    ],
    late: [
      ...exceeding(lastSends, STOPS_WITHIN_MS, `${what}: sends went on`),
      ...exceeding(takeovers, TAKEN_WITHIN_MS, `${what}: the takeover took`),
    ],
  }
}

async function withoutRedis(world: World, accounts: readonly string[], baselineMs: number): Promise<Seen> {
  const { replicas, namespace, redis } = world
  const before = await replicas.holders()
  const cutAt = Date.now()
  namespace.cut(redis.port, 'both')
  await sleep(size.cutMs)
  const dropped = namespace.dropped()
  namespace.heal()
  const silences = await silencesSince(replicas, accounts, cutAt)
  const moved = await takenAfter(replicas, cutAt)
  console.log(`  Redis cut: ${dropped} packets dropped, ${moved.size} of ${before.size} numbers changed their holder`)
  console.log(`    silent ${describeTimes(silences)}`)
  return {
    wrong: [
      ...(dropped === 0 ? ['redis: the cut dropped nothing'] : []),
      ...(moved.size > 0 ? [`redis: ${moved.size} numbers changed their holder`] : []),
    ],
    late: exceeding(silences, Math.max(NOISE_MS, TIMES_BASELINE * baselineMs), 'redis: silence of'),
  }
}

// What is seen

async function heldBy(replicas: Replicas, name: string): Promise<string[]> {
  return [...(await replicas.holders())].filter(([, holder]) => holder === name).map(([account]) => account)
}

/** Resolves when both hold as many as the other, and all are connected: whoever was cut off takes part again. */
async function sharesAreEven(replicas: Replicas): Promise<void> {
  const share = Math.floor(count / 2)
  const isEven = async (): Promise<boolean> => {
    const { rows } = await replicas.db.query<{ connected: number }>(
      `select count(*)::int as connected from instance where connection_status = 'CONNECTED'`,
    )
    const [ours, theirs] = [await heldBy(replicas, CUT_OFF), await heldBy(replicas, OTHER)]
    return rows[0]?.connected === count && ours.length >= share && theirs.length >= share
  }
  await eventually(isEven, 'both replicas hold their share, connected', BACK_WITHIN_MS)
}

/** When (epoch ms) another holder first took each number after this time. */
async function takenAfter({ db }: Replicas, at: number): Promise<Map<string, number>> {
  const { rows } = await db.query<{ phone: string; at: Date }>(
    `select ltrim(i.phone, '+') as phone, min(h.taken_at) as at
     from instance i join lease_history h on h.resource = 'instance:' || i.id
     where h.taken_at > $1 and h.how <> 'own' group by i.phone`,
    [new Date(at)],
  )
  return new Map(rows.map((row) => [row.phone, row.at.getTime()]))
}

/** When the server noticed that the replica's connections of before the cut are dead. Never rejects. */
async function sessionsEnd({ db }: Replicas, cutAt: number): Promise<string> {
  while (Date.now() - cutAt < size.cutMs) {
    const answer = await db
      .query<{ count: number }>(
        `select count(*)::int as count from pg_stat_activity where application_name = $1 and backend_start < $2`,
        [`mirante ${CUT_OFF}`, new Date(cutAt)],
      )
      // Everything is being ended.
      .catch(() => undefined)
    if (answer?.rows[0]?.count === 0)
      return `the server ended its sessions after ${Math.round((Date.now() - cutAt) / 1_000)} s`
    await sleep(500)
  }
  return 'the server still kept sessions of it'
}

/** The longest silence of each number. At its rate a number is silent for a period between two messages. */
async function silencesSince({ simulator }: Replicas, accounts: readonly string[], from: number): Promise<number[]> {
  const span = { from, to: Date.now() }
  const sends = await readSends(simulator)
  return accounts.map((account) => Math.max(0, longestSilenceMs(sends, account, span) - PERIOD_MS))
}

function exceeding(times: readonly number[], promisedMs: number, what: string): string[] {
  const longest = Math.max(0, ...times)
  return longest > promisedMs ? [`${what} ${Math.round(longest)} ms, promised ${promisedMs} ms`] : []
}

function closeAll(): Promise<void> {
  closing ??= (async () => {
    for (const close of opened.splice(0).reverse()) {
      await (async () => close())().catch((error: unknown) => console.log(`  while closing: ${String(error)}`))
    }
  })()
  return closing
}
