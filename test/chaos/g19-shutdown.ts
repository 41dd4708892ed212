/**
 * G19, on everything that compose.ha.yml describes. Stopping under load: twenty times a replica is ended by SIGTERM while
 * messages go both ways, and started again; each stop takes 25 s at the most, and nothing is lost, doubled or reordered.
 * Health: PostgreSQL, Redis, RabbitMQ and S3 are taken away one after another. /livez answers 200 all the time; /readyz answers
 * 503 while PostgreSQL is away and 200 whatever else is, and again within 5 s of its return (30 s in the reduced run, which
 * has to pass on a busy machine). Control: with nothing taken away, the same watch must see no 503.
 * `tsx test/chaos/g19-shutdown.ts [--reduced] [--seed N]`; exit 1 on failure.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { seededRandom } from '../../src/kernel/random.js'
import { eventually } from '../support/eventually.js'
import type { MiranteProcess } from '../support/launch.js'
import { createJudge, problemsOf } from '../support/replicas/judge.js'
import { startLoad } from '../support/replicas/load.js'
import { pairMany } from '../support/replicas/numbers.js'
import type { Replicas } from '../support/replicas/replicas.js'
import { startTopology, type Topology } from '../support/topology/topology.js'

const { values } = parseArgs({
  options: {
    reduced: { type: 'boolean', default: false },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
  },
})
const seed = Number(values.seed)
const random = seededRandom(seed)
const size = values.reduced
  ? { numbers: 3, stops: 3, awayMs: 4_000, backWithinMs: 30_000 }
  : { numbers: 6, stops: 20, awayMs: 10_000, backWithinMs: 5_000 }
const STOP_WITHIN_MS = 25_000
const LOOK_EVERY_MS = 100
const SETTLED_WITHIN_MS = 240_000

console.log(`G19 shutdown and health, seed ${seed}, ${values.reduced ? 'reduced' : 'full'}`)
const failures = await run()
for (const failure of failures) console.log(`  FAILED: ${failure}`)
console.log(failures.length === 0 ? 'G19 holds' : 'G19 does not hold')
process.exit(failures.length === 0 ? 0 : 1)

async function run(): Promise<string[]> {
  const topology = await startTopology({ seed })
  try {
    return [...(await stopUnderLoad(topology.replicas)), ...(await loseEach(topology))]
  } finally {
    await topology.stop()
  }
}

// Stopping

async function stopUnderLoad(replicas: Replicas): Promise<string[]> {
  const numbers = await pairMany(replicas, size.numbers, 3)
  const judge = await createJudge(replicas, numbers)
  const load = startLoad(replicas, numbers, { perNumberPerSecond: 3, inboundPerNumberPerSecond: 1 })
  const tookMs: number[] = []
  for (let n = 0; n < size.stops; n++) {
    await sleep(500 + random() * 2_000)
    const victim = await replicas.busiest()
    const since = performance.now()
    await replicas.terminate(victim)
    tookMs.push(performance.now() - since)
    await replicas.start(victim)
  }
  await load.stop()
  const settled = await judge.settle(load, SETTLED_WITHIN_MS)
  const verdict = await judge.judge(load)
  console.log(JSON.stringify(verdict, null, 1))
  console.log(
    `  stops took ${tookMs.map((ms) => (ms / 1_000).toFixed(1)).join(', ')} s, the wait for balancers included`,
  )
  return [
    ...(settled ? [] : ['it never settled']),
    ...problemsOf(verdict),
    ...tookMs.filter((ms) => ms > STOP_WITHIN_MS).map((ms) => `a stop took ${Math.round(ms)} ms`),
  ]
}

// Health

interface Seen {
  /** Looks that got another answer than 200, or none. */
  deaf: number
  notReady: number
  readonly states: Set<string>
}

async function loseEach({ replicas, postgres, redis, rabbit, s3 }: Topology): Promise<string[]> {
  const servers = {
    nothing: { take: async () => {}, give: async () => {}, isNeeded: false },
    postgres: { take: () => postgres.killPrimary(), give: () => postgres.restartPrimary(), isNeeded: true },
    redis: {
      take: async () => void (await Promise.all([redis.master, ...redis.replicas].map((server) => server.kill()))),
      give: async () => void (await Promise.all([redis.master, ...redis.replicas].map((server) => server.restart()))),
      isNeeded: false,
    },
    rabbitmq: { take: () => rabbit.kill(), give: () => rabbit.restart(), isNeeded: false },
    s3: { take: () => s3.kill(), give: () => s3.start(), isNeeded: false },
  }
  const problems: string[] = []
  for (const [name, { take, give, isNeeded }] of Object.entries(servers)) {
    const watch = startWatch(replicas)
    await take()
    await sleep(size.awayMs)
    await give()
    const since = performance.now()
    const areReady = async () => (await Promise.all(replicas.all.map(({ process }) => isReady(process)))).every(Boolean)
    await eventually(areReady, `all are ready after ${name}`)
    const backMs = performance.now() - since
    const seen = await watch.stop()
    console.log(
      `  ${name} away: /livez failed ${seen.deaf} times, /readyz ${seen.notReady} (${[...seen.states].join(', ')}), ` +
        `all ready ${Math.round(backMs)} ms after its return`,
    )
    if (seen.deaf > 0) problems.push(`without ${name} /livez failed ${seen.deaf} times`)
    if (isNeeded && seen.notReady === 0) problems.push(`without ${name} /readyz said nothing`)
    if (!isNeeded && seen.notReady > 0) problems.push(`without ${name} /readyz failed ${seen.notReady} times`)
    if (backMs > size.backWithinMs) problems.push(`ready ${Math.round(backMs)} ms after the return of ${name}`)
  }
  return problems
}

async function isReady(process: MiranteProcess): Promise<boolean> {
  return (await process.api('GET', '/readyz')).status === 200
}

/** Looks at both probes of every replica until it is stopped. */
function startWatch({ all }: Replicas): { stop(): Promise<Seen> } {
  const seen: Seen = { deaf: 0, notReady: 0, states: new Set() }
  let isOver = false
  const watching = Promise.all(
    all.map(async ({ process }) => {
      while (!isOver) {
        const [alive, ready] = await Promise.all(
          ['/livez', '/readyz'].map((path) => process.api('GET', path).catch(() => undefined)),
        )
        if (alive?.status !== 200) seen.deaf += 1
        if (ready?.status !== 200) seen.notReady += 1
        seen.states.add(String(ready?.body.status ?? 'no answer'))
        await sleep(LOOK_EVERY_MS)
      }
    }),
  )
  return {
    async stop() {
      isOver = true
      await watching
      return seen
    },
  }
}
