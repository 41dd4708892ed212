/**
 * G1, zombies: two replicas and numbers under load both ways; the holder is frozen for longer than the lease lives, from
 * outside at random moments and by itself at every crash point, and thawed when the other has taken over. Nothing that it then
 * writes is accepted, no ratchet counter is used twice on the wire, no login is deleted, no QR needed, nothing lost or doubled.
 * Full: 50 rounds with the TTL at 1/10, and one with the TTL of 45 s and 60 s of frost. Then the control: under the lock of
 * seed 000 (unfenced-lock.ts) a zombie must be seen to write.
 * `tsx test/chaos/g1-zombie.ts [--reduced] [--rounds N] [--seed N] [--controls-only|--no-controls]`; exit 1 on failure.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { seededRandom } from '../../src/kernel/random.js'
import { createJudge, problemsOf, type ReplicasVerdict } from '../support/replicas/judge.js'
import { startLoad } from '../support/replicas/load.js'
import { pairMany } from '../support/replicas/numbers.js'
import { type Replicas, startReplicas } from '../support/replicas/replicas.js'
import { startRedis } from '../support/servers/redis.js'
import { runZombieRound } from './zombie-round.js'

/** Undefined: from outside, at a random moment. Every other round freezes where a write is about to be made, or was just made. */
const MOMENTS = [
  ...[undefined, 'before-ratchet', undefined, 'after-ratchet', undefined, 'after-claim', undefined, 'after-write'],
  ...[undefined, 'before-inbound-store', undefined, 'after-inbound-store', undefined, 'after-receipt'],
  ...[undefined, 'after-ack', undefined, 'before-ingest-commit', undefined, 'after-settle'],
]
const NUMBERS = 4
const SCALED_TTL_MS = 4_500
const FULL_SCALE = { ttlMs: 45_000, frozenMs: 60_000 }
const CONTROL_ROUNDS = 6
const SETTLED_WITHIN_MS = 120_000

const { values } = parseArgs({
  options: {
    reduced: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    'controls-only': { type: 'boolean', default: false },
    'no-controls': { type: 'boolean', default: false },
  },
})
const seed = Number(values.seed)
const rounds = Number(values.rounds ?? (values.reduced ? 4 : 50))

console.log(`G1 zombies, seed ${seed}, ${rounds} rounds`)
const failures: string[] = []
if (!values['controls-only']) {
  failures.push(...(await product({ ttlMs: SCALED_TTL_MS, frozenMs: 0, rounds })))
  if (!values.reduced) failures.push(...(await product({ ...FULL_SCALE, rounds: 1 })))
}
if (!values['no-controls']) failures.push(...(await control()))
for (const failure of failures) console.log(`  FAILED: ${failure}`)
console.log(failures.length === 0 ? 'G1 holds' : 'G1 does not hold')
process.exit(failures.length === 0 ? 0 : 1)

interface Scale {
  readonly ttlMs: number
  readonly frozenMs: number
  readonly rounds: number
}

async function product({ ttlMs, frozenMs, rounds }: Scale): Promise<string[]> {
  const random = seededRandom(seed)
  const offset = Math.floor(random() * MOMENTS.length)
  const replicas = await startReplicas({ seed, command: program(), env: { LEASE_TTL_MS: String(ttlMs) } })
  try {
    const { verdict, settled } = await underLoad(replicas, async () => {
      for (let round = 0; round < rounds; round++) {
        const point = MOMENTS[(offset + round) % MOMENTS.length]
        const startedAt = performance.now()
        const asTold = await runZombieRound(replicas, { point, random, frozenMs })
        const seconds = ((performance.now() - startedAt) / 1_000).toFixed(1)
        console.log(`  round ${round + 1}: frozen ${asTold && point ? point : 'from outside'}, ${seconds} s`)
      }
    })
    console.log(JSON.stringify(verdict, null, 1))
    return [...problemsOf(verdict), ...(settled ? [] : ['it never settled'])]
  } finally {
    await replicas.stop()
  }
}

/** Stops as soon as the lock was seen to fail. */
async function control(): Promise<string[]> {
  const redis = await startRedis()
  const env = { LEASE_TTL_MS: String(SCALED_TTL_MS), SEED_LOCK_REDIS_URL: redis.url }
  const replicas = await startReplicas({ seed, command: program('--seed-lock'), env })
  try {
    const random = seededRandom(seed)
    let caught = 0
    let round = 0
    await underLoad(replicas, async (judge) => {
      while (caught === 0 && round++ < CONTROL_ROUNDS) {
        await runZombieRound(replicas, { point: 'between-check-and-write', random, frozenMs: 0 })
        const { zeros } = await judge()
        caught = zeros.staleWrites + zeros.reusedCounters
      }
    })
    console.log(`control seed-lock: ${caught} writes of a zombie accepted or counters reused, in round ${round}`)
    return caught > 0 ? [] : ['the control went unnoticed: the lock of seed 000 lets no zombie write']
  } finally {
    await replicas.stop()
    await redis.stop()
  }
}

async function underLoad(
  replicas: Replicas,
  work: (judge: () => Promise<ReplicasVerdict>) => Promise<void>,
): Promise<{ verdict: ReplicasVerdict; settled: boolean }> {
  const numbers = await pairMany(replicas, NUMBERS)
  const judge = await createJudge(replicas, numbers)
  const load = startLoad(replicas, numbers, { perNumberPerSecond: 4, inboundPerNumberPerSecond: 2 })
  await sleep(1_000)
  await work(() => judge.judge(load))
  await load.stop()
  const settled = await judge.settle(load, SETTLED_WITHIN_MS)
  return { verdict: await judge.judge(load), settled }
}

function program(...args: readonly string[]): string[] {
  return ['--import', 'tsx', fileURLToPath(new URL('./zombie-process.ts', import.meta.url)), ...args]
}
