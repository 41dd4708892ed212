/**
 * G5, failover: three replicas with many numbers under load. One is killed with -9: all its numbers send again within 15 s.
 * One is frozen for longer than the lease's life and thawed: its numbers send again within TTL + 15 s, and it writes nothing.
 * All three are restarted in peace, one after another: no number is silent for more than 3 s. Throughout nothing is lost,
 * doubled or reordered, no login is lost, no QR needed. Times are judged in the full run only.
 * `tsx test/chaos/g5-failover.ts [--reduced] [--seed N] [--numbers N] [--rate N] [--phase kill|freeze|rolling …]`; exit 1 on failure.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { eventually } from '../support/eventually.js'
import { createJudge, problemsOf } from '../support/replicas/judge.js'
import { startLoad } from '../support/replicas/load.js'
import { pairMany } from '../support/replicas/numbers.js'
import { type Replica, type Replicas, startReplicas } from '../support/replicas/replicas.js'
import { describeTimes, longestSilenceMs, readSends } from '../support/replicas/sends.js'

const { values } = parseArgs({
  options: {
    reduced: { type: 'boolean', default: false },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    numbers: { type: 'string' },
    rate: { type: 'string' },
    phase: { type: 'string', multiple: true, default: ['kill', 'freeze', 'rolling'] },
  },
})
const seed = Number(values.seed)
const size = values.reduced
  ? { numbers: 20, rate: 1, ttlMs: 9_000, frozenMs: 12_000, calmMs: 2_000 }
  : { numbers: 100, rate: 0.3, ttlMs: 45_000, frozenMs: 60_000, calmMs: 8_000 }
const count = Number(values.numbers ?? size.numbers)
/** Messages a second of each number. */
const rate = Number(values.rate ?? size.rate)
const PERIOD_MS = 1_000 / rate
const PROMISED_MS = { kill: 15_000, freeze: size.ttlMs + 15_000, rolling: 3_000 }
/** Bounds against hanging. */
const BACK_WITHIN_MS = size.ttlMs + 90_000
const SETTLED_WITHIN_MS = 240_000

type Phase = keyof typeof PROMISED_MS

console.log(
  `G5 failover, seed ${seed}, ${values.reduced ? 'reduced' : 'full'}: ${count} numbers, ${rate} messages a second each, TTL ${size.ttlMs} ms`,
)
const failures = await run()
for (const failure of failures) console.log(`  FAILED: ${failure}`)
console.log(failures.length === 0 ? 'G5 holds' : 'G5 does not hold')
process.exit(failures.length === 0 ? 0 : 1)

async function run(): Promise<string[]> {
  const replicas = await startReplicas({ seed, count: 3, env: { LEASE_TTL_MS: String(size.ttlMs) } })
  try {
    const numbers = await pairMany(replicas, count)
    console.log(`  ${count} numbers are connected: ${await sharesOf(replicas)}`)
    const judge = await createJudge(replicas, numbers)
    const load = startLoad(replicas, numbers, { perNumberPerSecond: rate })
    await sleep(size.calmMs)
    const late: string[] = []
    const phases: Readonly<Record<Phase, () => Promise<string[]>>> = {
      kill: () => killOne(replicas),
      freeze: () => freezeOne(replicas),
      rolling: () =>
        restartAll(
          replicas,
          numbers.map(({ account }) => account),
        ),
    }
    for (const phase of Object.keys(phases) as Phase[]) {
      if (values.phase.includes(phase)) late.push(...(await phases[phase]()))
    }
    await load.stop()
    const settled = await judge.settle(load, SETTLED_WITHIN_MS)
    const verdict = await judge.judge(load)
    console.log(`  leases that were lost, and why: ${await lossesOf(replicas)}`)
    console.log(JSON.stringify(verdict, null, 1))
    return [...(values.reduced ? [] : late), ...(settled ? [] : ['it never settled']), ...problemsOf(verdict)]
  } finally {
    await replicas.stop()
  }
}

// The phases: each resolves to what came later than promised

async function killOne(replicas: Replicas): Promise<string[]> {
  const { victim, accounts } = await chooseVictim(replicas)
  const from = Date.now()
  replicas.kill(victim)
  await takenOver(replicas, victim)
  await sleep(size.calmMs)
  const late = await judgeSilence({ replicas, phase: 'kill', what: `kill -9 of ${victim.name}`, accounts, from })
  await replicas.start(victim)
  return late
}

async function freezeOne(replicas: Replicas): Promise<string[]> {
  const { victim, accounts } = await chooseVictim(replicas)
  const from = Date.now()
  replicas.freeze(victim)
  await sleep(size.frozenMs)
  replicas.thaw(victim)
  await takenOver(replicas, victim, accounts)
  await sleep(size.calmMs)
  return judgeSilence({ replicas, phase: 'freeze', what: `freeze of ${victim.name}`, accounts, from })
}

async function restartAll(replicas: Replicas, accounts: readonly string[]): Promise<string[]> {
  const late: string[] = []
  for (const replica of replicas.all) {
    const from = Date.now()
    await replicas.terminate(replica)
    const endedMs = Date.now() - from
    await replicas.start(replica)
    console.log(`  ${replica.name} ended within ${endedMs} ms, was ready again after ${Date.now() - from} ms`)
    await sleep(size.calmMs)
    const what = `restart of ${replica.name}`
    late.push(...(await judgeSilence({ replicas, phase: 'rolling', what, accounts, from })))
  }
  console.log(`  after the restarts: ${await sharesOf(replicas)}`)
  return late
}

async function chooseVictim(replicas: Replicas): Promise<{ victim: Replica; accounts: readonly string[] }> {
  const victim = await replicas.busiest()
  const holders = await replicas.holders()
  return { victim, accounts: [...holders].filter(([, name]) => name === victim.name).map(([account]) => account) }
}

/** All numbers, or these, are held by others. */
async function takenOver(replicas: Replicas, victim: Replica, accounts?: readonly string[]): Promise<void> {
  await eventually(
    async () => {
      const holders = await replicas.holders()
      const of = accounts ?? [...holders.keys()]
      return of.every((account) => holders.get(account) !== victim.name)
    },
    `others take over from ${victim.name}`,
    BACK_WITHIN_MS,
  )
}

interface Watched {
  readonly replicas: Replicas
  readonly phase: Phase
  readonly what: string
  readonly accounts: readonly string[]
  readonly from: number
}

async function judgeSilence({ replicas, phase, what, accounts, from }: Watched): Promise<string[]> {
  const sends = await readSends(replicas.simulator)
  const span = { from, to: Date.now() }
  // At its rate a number is silent for a period between two messages.
  const silences = accounts.map((account) => Math.max(0, longestSilenceMs(sends, account, span) - PERIOD_MS))
  const promisedMs = PROMISED_MS[phase]
  const late = silences.filter((ms) => ms > promisedMs).length
  console.log(`  ${what}: silent ${describeTimes(silences)}, promised ${promisedMs / 1_000} s`)
  return late === 0 ? [] : [`${what}: ${late} of ${accounts.length} numbers were silent for more than ${promisedMs} ms`]
}

async function sharesOf(replicas: Replicas): Promise<string> {
  const holders = [...(await replicas.holders()).values()]
  return replicas.all.map(({ name }) => `${name} ${holders.filter((holder) => holder === name).length}`).join(', ')
}

/** On a machine that is too slow for the TTL, processes notice that they stood still, and give their numbers up by themselves. */
async function lossesOf({ db }: Replicas): Promise<string> {
  const { rows } = await db.query<{ reason: string; count: number }>(
    `select data ->> 'reason' as reason, count(*)::int as count from event where type = 'lease.lost' group by 1 order by 1`,
  )
  return rows.map(({ reason, count }) => `${reason} ${count}`).join(', ') || 'none'
}
