/**
 * G20: NGINX with the configuration of deploy/nginx before three replicas that answer 500 requests a second, half of them GET,
 * half POST with an Idempotency-Key (fewer on a slow machine; it says how many). Ten times a replica, or only its web
 * process, is killed with -9; ten times one is ended by SIGTERM. No request may fail, no message may be there twice or not at
 * all. Control: without the lines that try again elsewhere the same kills must be noticed.
 * `tsx test/chaos/g20-balancer.ts [--reduced] [--seed N] [--rate N]`; exit 1 on failure.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { Agent, request } from 'undici'
import { seededRandom } from '../../src/kernel/random.js'
import { TEST_API_KEY } from '../support/launch.js'
import { type Replicas, startReplicas } from '../support/replicas/replicas.js'
import { startNginx } from '../support/servers/nginx.js'

const { values } = parseArgs({
  options: {
    reduced: { type: 'boolean', default: false },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    rate: { type: 'string', default: '500' },
  },
})
const seed = Number(values.seed)
const size = values.reduced ? { kills: 4, drainWaitMs: 1_000 } : { kills: 10, drainWaitMs: 5_000 }
const PAUSE_MS = { min: 300, max: 1_500 }
/** Of what the machine can: beyond it, waiting would be counted as failing. */
const SHARE_OF_CAPACITY = 0.4
const PROBE_MS = 3_000
const PROBERS = 16
const ANSWER_WITHIN_MS = 60_000

type How = 'kill -9' | 'SIGTERM'

interface Outcome {
  readonly requests: number
  readonly failed: Readonly<Record<'GET' | 'POST', number>>
  /** Answers that were given a second time: the first was lost with the replica that gave it. */
  readonly replayed: number
  readonly examples: readonly string[]
  /** Messages that are there more than once, and accepted ones that are not there. */
  readonly doubled: number
  readonly missing: number
}

console.log(`G20 balancer, seed ${seed}, ${values.reduced ? 'reduced' : 'full'}`)
const failures = await run()
for (const failure of failures) console.log(`  FAILED: ${failure}`)
console.log(failures.length === 0 ? 'G20 holds' : 'G20 does not hold')
process.exit(failures.length === 0 ? 0 : 1)

async function run(): Promise<string[]> {
  const replicas = await startReplicas({
    seed,
    count: 3,
    flags: ['--roles=web'],
    env: { DRAIN_WAIT_MS: String(size.drainWaitMs) },
  })
  try {
    const { body } = await replicas.api('POST', '/api/instances', { body: { name: 'balanced' } })
    const instanceId = String(body.id)
    const rate = await chooseRate(replicas, instanceId)
    const killed = await phase(replicas, { instanceId, rate, how: 'kill -9', retries: true })
    const ended = await phase(replicas, { instanceId, rate, how: 'SIGTERM', retries: true })
    const control = await phase(replicas, { instanceId, rate, how: 'kill -9', retries: false })
    const unnoticed = control.failed.GET + control.failed.POST === 0
    return [
      ...problemsOf('kill -9', killed),
      ...problemsOf('SIGTERM', ended),
      ...(unnoticed ? ['without the lines that try again nothing failed: the kills were not felt'] : []),
    ]
  } finally {
    await replicas.stop()
  }
}

function addressesOf({ all }: Replicas): string[] {
  return all.map(({ process }) => new URL(process.url).host)
}

/** Requests a second that the machine surely serves now, through the balancer. */
async function chooseRate(replicas: Replicas, instanceId: string): Promise<number> {
  const nginx = await startNginx({ replicas: addressesOf(replicas) })
  const client = createClient(nginx.url, instanceId, 'probe')
  const until = performance.now() + PROBE_MS
  await Promise.all(
    Array.from({ length: PROBERS }, async () => {
      while (performance.now() < until) await client.ask()
    }),
  )
  const { requests } = await client.outcome(replicas)
  await client.stop()
  await nginx.stop()
  const capacity = (requests * 1_000) / PROBE_MS
  const rate = Math.max(20, Math.min(Number(values.rate), Math.floor(capacity * SHARE_OF_CAPACITY)))
  console.log(`  ${Math.round(capacity)} requests/s at the most here and now; the load is ${rate}/s`)
  return rate
}

interface Phase {
  readonly instanceId: string
  readonly rate: number
  readonly how: How
  /** False: the control, without the lines that try again. */
  readonly retries: boolean
}

async function phase(replicas: Replicas, { instanceId, rate, how, retries }: Phase): Promise<Outcome> {
  const nginx = await startNginx({
    replicas: addressesOf(replicas),
    ...(!retries && {
      change: (_, text) => text.replaceAll(/proxy_next_upstream error.*;/g, 'proxy_next_upstream off;'),
    }),
  })
  const client = createClient(nginx.url, instanceId, `${seed}-${how}-${retries}`)
  const over = new AbortController()
  const load = openLoop(rate, over.signal, () => client.ask())
  await strike(replicas, how)
  over.abort()
  await load
  const outcome = await client.outcome(replicas)
  await client.stop()
  await nginx.stop()
  console.log(`  ${how}${retries ? '' : ' (control)'}: ${JSON.stringify(outcome)}`)
  return outcome
}

/** One replica after another is struck and starts again; the balancer is never left without two others. */
async function strike(replicas: Replicas, how: How): Promise<void> {
  const random = seededRandom(seed)
  for (let n = 0; n < size.kills; n++) {
    await sleep(PAUSE_MS.min + random() * (PAUSE_MS.max - PAUSE_MS.min))
    const victim = replicas.all[Math.floor(random() * replicas.all.length)]
    if (!victim) throw new Error('there are no replicas')
    if (how === 'SIGTERM') {
      await replicas.terminate(victim)
      await replicas.start(victim)
    } else if (n % 2 === 0) {
      // Its supervisor starts another one.
      victim.process.kill('web')
      await victim.process.ready()
    } else {
      replicas.kill(victim)
      await replicas.start(victim)
    }
  }
  await sleep(PAUSE_MS.max)
}

/** Begins `rate` requests a second, whatever becomes of those before. */
async function openLoop(rate: number, over: AbortSignal, ask: () => Promise<void>): Promise<void> {
  const begun: Promise<void>[] = []
  const since = performance.now()
  while (!over.aborted) {
    const due = ((performance.now() - since) * rate) / 1_000
    while (begun.length < due) begun.push(ask())
    await sleep(5)
  }
  await Promise.all(begun)
}

function createClient(url: string, instanceId: string, name: string) {
  const agent = new Agent({ connections: 256, bodyTimeout: ANSWER_WITHIN_MS, headersTimeout: ANSWER_WITHIN_MS })
  const failed = { GET: 0, POST: 0 }
  const accepted: string[] = []
  const examples: string[] = []
  let requests = 0
  let replayed = 0

  return { ask, outcome, stop: () => agent.close() }

  async function ask(): Promise<void> {
    const n = requests++
    const method = n % 2 === 0 ? 'GET' : 'POST'
    const text = `${name} #${n}`
    try {
      const answer = await request(`${url}${method === 'GET' ? `/api/instances/${instanceId}` : '/api/messages'}`, {
        method,
        dispatcher: agent,
        headers: {
          authorization: `Bearer ${TEST_API_KEY}`,
          ...(method === 'POST' && { 'content-type': 'application/json', 'idempotency-key': text.replaceAll(' ', '') }),
        },
        body:
          method === 'GET'
            ? null
            : JSON.stringify({ instanceId, to: '+5511988887777', type: 'text', text: { body: text } }),
      })
      const body = await answer.body.text()
      if (answer.statusCode !== (method === 'GET' ? 200 : 202))
        throw new Error(`${answer.statusCode} ${body.slice(0, 60)}`)
      if (answer.headers['idempotent-replayed']) replayed += 1
      if (method === 'POST') accepted.push(text)
    } catch (error) {
      failed[method] += 1
      if (examples.length < 5) examples.push(`${method} ${String(error)}`)
    }
  }

  async function outcome({ db }: Replicas): Promise<Outcome> {
    const { rows } = await db.query<{ text: string; count: number }>(
      `select content #>> '{text,body}' as text, count(*)::int as count from message
       where starts_with(content #>> '{text,body}', $1) group by 1`,
      [`${name} #`],
    )
    const there = new Map(rows.map(({ text, count }) => [text, count]))
    return {
      requests,
      failed,
      replayed,
      examples,
      doubled: rows.filter(({ count }) => count > 1).length,
      missing: accepted.filter((text) => !there.has(text)).length,
    }
  }
}

function problemsOf(name: string, { failed, doubled, missing }: Outcome): string[] {
  return Object.entries({ ...failed, doubled, missing })
    .filter(([, count]) => count > 0)
    .map(([what, count]) => `${name}: ${what} is ${count}, not 0`)
}
