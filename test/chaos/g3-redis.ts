/**
 * G3, a Redis that lies: two replicas hold many numbers under light load while the clock of their Redis jumps by 50 and 600
 * seconds in either direction, while it is wiped, and while it is killed with -9 five times and comes back with nothing. No
 * number changes its holder, none is silent for more than 5 s, nothing is lost, doubled or stale. The control is the seed's
 * lock on the same Redis, which must change its owner. Silence is judged in the full run only, and where the machine itself
 * is slow, against the longest silence of the same numbers before the first fault.
 * `tsx test/chaos/g3-redis.ts [--reduced] [--seed N] [--numbers N]`; exit 1 on failure.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import type { Redis } from '../../src/platform/redis/redis.js'
import { requireDebian } from '../support/debian.js'
import { eventually } from '../support/eventually.js'
import { createJudge, problemsOf } from '../support/replicas/judge.js'
import { startLoad } from '../support/replicas/load.js'
import { pairMany } from '../support/replicas/numbers.js'
import { type Replicas, startReplicas } from '../support/replicas/replicas.js'
import { describeTimes, longestSilenceMs, readSends } from '../support/replicas/sends.js'
import { connectRedis } from '../support/servers/connect-redis.js'
import { type RedisServer, startRedis } from '../support/servers/redis.js'
import { createWrongClock } from '../support/servers/wrong-clock.js'
import { startSeedLock } from './seed-lock.js'

const { values } = parseArgs({
  options: {
    reduced: { type: 'boolean', default: false },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    numbers: { type: 'string' },
  },
})
const seed = Number(values.seed)
/** `faultMs`: how long each state of the clock, the wiped and the killed Redis are looked at. */
const size = values.reduced
  ? { numbers: 20, ttlMs: 15_000, faultMs: 4_000, downMs: 500 }
  : { numbers: 100, ttlMs: 45_000, faultMs: 15_000, downMs: 2_000 }
/** Of the control: its two replicas do nothing else, and no busy machine makes them late. */
const CONTROL_TTL_MS = 10_000
const count = Number(values.numbers ?? size.numbers)
const PER_NUMBER_PER_SECOND = 0.5
const PERIOD_MS = 1_000 / PER_NUMBER_PER_SECOND
const CLOCKS_AHEAD_S = [50, 0, 600, 0, -50, 0, -600, 0]
const KILLS = 5
const PROMISED_MS = 5_000
/** Of the longest silence without a fault. */
const TIMES_BASELINE = 2
const SETTLED_WITHIN_MS = 240_000

console.log(`G3 Redis, seed ${seed}, ${values.reduced ? 'reduced' : 'full'}: ${count} numbers, TTL ${size.ttlMs} ms`)
requireDebian(['redis-server', 'gcc'])
const failures = await run()
for (const failure of failures) console.log(`  FAILED: ${failure}`)
console.log(failures.length === 0 ? 'G3 holds' : 'G3 does not hold')
process.exit(failures.length === 0 ? 0 : 1)

async function run(): Promise<string[]> {
  const clock = createWrongClock()
  const server = await startRedis({ env: clock.env })
  const redis = await connectRedis(server.url)
  const replicas = await startReplicas({
    seed,
    env: { REDIS_URL: server.url, LEASE_TTL_MS: String(size.ttlMs) },
  })
  try {
    const numbers = await pairMany(replicas, count)
    const accounts = numbers.map(({ account }) => account)
    const judge = await createJudge(replicas, numbers)
    const load = startLoad(replicas, numbers, { perNumberPerSecond: PER_NUMBER_PER_SECOND })
    await hintsAreThere(redis)
    const takenBefore = await takes(replicas)
    const baselineMs = Math.max(...(await silences(replicas, accounts, () => sleep(size.faultMs))))
    console.log(`  before: at most ${Math.round(baselineMs)} ms of silence`)

    const control = startSeedLock(redis, CONTROL_TTL_MS)
    await sleep(size.faultMs)
    const late: string[] = []
    for (const fault of faultsOn(server, clock.set)) {
      const times = await silences(replicas, accounts, fault.happen)
      console.log(`  ${fault.name}: silent ${describeTimes(times)}`)
      const longest = Math.max(...times)
      if (longest > Math.max(PROMISED_MS, TIMES_BASELINE * baselineMs)) {
        late.push(`${fault.name}: a number was silent for ${Math.round(longest)} ms`)
      }
    }
    await hintsAreThere(redis)
    await control.stop()
    const taken = await takes(replicas)
    const changes = taken.byAnother - takenBefore.byAnother
    console.log(`  changes of the holder: ours ${changes}, the seed's lock ${control.changes}`)
    console.log(`  taken anew by the same holder, which had stood still: ${taken.anew - takenBefore.anew}`)
    await load.stop()
    const settled = await judge.settle(load, SETTLED_WITHIN_MS)
    const verdict = await judge.judge(load)
    console.log(JSON.stringify(verdict, null, 1))
    return [
      ...(values.reduced ? [] : late),
      ...(changes > 0 ? [`numbers changed their holder ${changes} times`] : []),
      ...(control.changes === 0 ? ['the control, the lock of the seed, kept its owner'] : []),
      ...(settled ? [] : ['it never settled']),
      ...problemsOf(verdict),
    ]
  } finally {
    await replicas.stop()
    await redis.stop()
    await server.stop()
    clock.remove()
  }
}

interface Fault {
  readonly name: string
  /** Resolves when its effects had time to show. */
  happen(): Promise<void>
}

function faultsOn(server: RedisServer, setClock: (aheadSeconds: number) => void): Fault[] {
  const jumps = CLOCKS_AHEAD_S.map((ahead) => ({
    name: `clock ${ahead > 0 ? '+' : ''}${ahead} s`,
    async happen() {
      setClock(ahead)
      await sleep(size.faultMs)
    },
  }))
  const wipe = {
    name: 'FLUSHALL',
    async happen() {
      await server.flush()
      await sleep(size.faultMs)
    },
  }
  const kills = {
    name: `kill -9, ${KILLS} times`,
    async happen() {
      for (let killed = 0; killed < KILLS; killed++) {
        await server.kill()
        await sleep(size.downMs)
        await server.restart()
        await sleep(size.faultMs / KILLS)
      }
    },
  }
  return [...jumps, wipe, kills]
}

/** The longest silences of these numbers while something happens. At its rate a number is silent between two messages. */
async function silences(
  { simulator }: Replicas,
  accounts: readonly string[],
  happen: () => Promise<void>,
): Promise<number[]> {
  const from = Date.now()
  await happen()
  const span = { from, to: Date.now() }
  const sends = await readSends(simulator)
  return accounts.map((account) => Math.max(0, longestSilenceMs(sends, account, span) - PERIOD_MS))
}

/** Else Redis would not have been used, and nothing that happens to it could matter. */
async function hintsAreThere(redis: Redis): Promise<void> {
  await eventually(
    async () => ((await redis.run('keys', 'wbot:mutex:{ins_*')) as string[]).length === count,
    `each of ${count} numbers has its key in Redis`,
    4 * size.ttlMs,
  )
}

interface Takes {
  readonly byAnother: number
  /** A process that the machine left standing gives its leases up, and takes them again. */
  readonly anew: number
}

/** How often leases of numbers were taken so far. */
async function takes({ db }: Replicas): Promise<Takes> {
  const { rows } = await db.query<{ own: boolean; count: number }>(
    `select how = 'own' as own, count(*)::int as count from lease_history where resource like 'instance:%' group by 1`,
  )
  const of = (own: boolean): number => rows.find((row) => row.own === own)?.count ?? 0
  return { byAnother: of(false), anew: of(true) }
}
