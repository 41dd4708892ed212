/**
 * G9: everything that compose.ha.yml describes, as processes, under a load in both directions on several numbers, while each
 * server on which it stands is struck three times: PostgreSQL killed and started again, Redis killed and flushed, RabbitMQ
 * killed with -9, NGINX reloaded. Nothing is lost, shown twice, reordered or stored twice, no accepted message is missing, no
 * key is used twice, no QR needed; and the API answers 5xx only while PostgreSQL is away. A reload of NGINX closes idle
 * connections, perhaps under a request that was on its way: such a request may stay without an answer, and nothing else may.
 * `tsx test/chaos/g9-services.ts [--reduced] [--seed N] [--strike postgres|redis|rabbitmq|nginx …]`; exit 1 on failure.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { seededRandom } from '../../src/kernel/random.js'
import { createJudge, problemsOf } from '../support/replicas/judge.js'
import { startLoad } from '../support/replicas/load.js'
import { pairMany } from '../support/replicas/numbers.js'
import type { Replicas } from '../support/replicas/replicas.js'
import { startTopology, type Topology } from '../support/topology/topology.js'

const strikes = ['postgres', 'redis', 'rabbitmq', 'nginx'] as const
type Strike = (typeof strikes)[number]

const { values } = parseArgs({
  options: {
    reduced: { type: 'boolean', default: false },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    strike: { type: 'string', multiple: true, default: [...strikes] },
  },
})
const seed = Number(values.seed)
const random = seededRandom(seed)
const size = values.reduced
  ? { numbers: 4, chats: 5, perNumber: 4, rounds: 1 }
  : { numbers: 5, chats: 10, perNumber: 12, rounds: 3 }
const PAUSE_MS = { min: 2_000, max: 5_000 }
const AWAY_MS = { min: 500, max: 2_500 }
const SETTLED_WITHIN_MS = 240_000
/** After PostgreSQL answers again: until each replica has noticed. */
const RECOVERED_WITHIN_MS = 5_000

/** When requests may fail. Epoch ms. */
interface Span {
  readonly strike: Strike
  readonly from: number
  readonly to: number
}

console.log(`G9 services, seed ${seed}, ${values.reduced ? 'reduced' : 'full'}: ${values.strike.join(', ')}`)
const failures = await run()
for (const failure of failures) console.log(`  FAILED: ${failure}`)
console.log(failures.length === 0 ? 'G9 holds' : 'G9 does not hold')
process.exit(failures.length === 0 ? 0 : 1)

async function run(): Promise<string[]> {
  const topology = await startTopology({ seed })
  try {
    const answers: { readonly at: number; readonly status: number | undefined }[] = []
    const replicas = watched(topology.replicas, (status) => answers.push({ at: Date.now(), status }))
    const numbers = await pairMany(replicas, size.numbers, size.chats)
    console.log(`  the topology runs; ${numbers.length} numbers are connected`)
    const judge = await createJudge(replicas, numbers)
    const load = startLoad(replicas, numbers, {
      perNumberPerSecond: size.perNumber,
      inboundPerNumberPerSecond: size.perNumber / 4,
    })
    const outages: Span[] = []
    for (let round = 1; round <= size.rounds; round++) {
      for (const strike of strikes) {
        if (!values.strike.includes(strike)) continue
        await sleep(between(PAUSE_MS))
        const from = Date.now()
        await strikeAt(topology, strike)
        const to = Date.now()
        if (strike === 'postgres' || strike === 'nginx') outages.push({ strike, from, to: to + RECOVERED_WITHIN_MS })
        console.log(`  ${strike}, ${round} of ${size.rounds}: away for ${to - from} ms`)
      }
    }
    await sleep(PAUSE_MS.max)
    await load.stop()
    const settled = await judge.settle(load, SETTLED_WITHIN_MS)
    const verdict = await judge.judge(load)
    console.log(JSON.stringify(verdict, null, 1))
    return [
      ...(settled ? [] : ['it never settled']),
      ...problemsOf(verdict),
      ...unexpectedErrors(answers, outages),
      ...(verdict.sent > 0 && verdict.received > 0 ? [] : ['there was no load']),
    ]
  } finally {
    await topology.stop()
  }
}

async function strikeAt({ postgres, redis, rabbit, nginx }: Topology, strike: Strike): Promise<void> {
  switch (strike) {
    case 'postgres':
      await postgres.killPrimary()
      await sleep(between(AWAY_MS))
      return postgres.restartPrimary()
    case 'redis':
      // With all that it has; the sentinels may make its replica the master meanwhile, which is flushed as well.
      await redis.master.kill()
      await sleep(between(AWAY_MS))
      await redis.master.restart()
      await Promise.all([redis.master, ...redis.replicas].map((server) => server.flush().catch(() => undefined)))
      return
    case 'rabbitmq':
      await rabbit.kill()
      await sleep(between(AWAY_MS))
      return rabbit.restart()
    case 'nginx':
      return nginx.reload()
  }
}

/** The same replicas, with a word of each answer: its status, or undefined where none came. */
function watched(replicas: Replicas, hear: (status: number | undefined) => void): Replicas {
  return {
    ...replicas,
    async api(method, path, options) {
      try {
        // The balancer never freezes: whoever is patient gets an answer.
        const answer = await replicas.api(method, path, { ...options, timeoutMs: 60_000 })
        hear(answer.status)
        return answer
      } catch (error) {
        hear(undefined)
        throw error
      }
    },
  }
}

function unexpectedErrors(
  answers: readonly { readonly at: number; readonly status: number | undefined }[],
  outages: readonly Span[],
): string[] {
  const failed = answers.filter(({ status }) => status === undefined || status >= 500)
  const isExpected = ({ at, status }: (typeof failed)[number]): boolean =>
    outages.some(({ strike, from, to }) => at >= from && at <= to && (strike === 'postgres' || status === undefined))
  const outside = failed.filter((answer) => !isExpected(answer))
  console.log(
    `  ${answers.length} answers, ${failed.length} of them 5xx or none, ${outside.length} outside of the outages`,
  )
  if (outside.length === 0) return []
  const shown = outside.slice(0, 5).map(({ at, status }) => `${status ?? 'none'} at ${new Date(at).toISOString()}`)
  return [`${outside.length} requests failed while PostgreSQL was there: ${shown.join(', ')}`]
}

function between({ min, max }: { readonly min: number; readonly max: number }): number {
  return min + random() * (max - min)
}
