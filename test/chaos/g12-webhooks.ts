/**
 * G12: our webhooks. 10,000 events for six endpoints, of which one is well and the others fail, are slow, dead, gone or point
 * elsewhere, under 5 kill -9 of the process that delivers. Every event reaches every endpoint, at least once, under its own id,
 * with one body, signed so that the public library `standardwebhooks` verifies it, after a rotation under both secrets; what
 * only fails is soon left alone; the healthy one has everything within two seconds (p99), outside of the deaths
 * (webhook-judge.ts says what they are). Then the controls: each broken promise must be noticed.
 * `tsx test/chaos/g12-webhooks.ts [--reduced] [--seed N] [--rate N] [--no-controls]`; exit 1 on failure.
 *
 * Only the whole run judges the time, the circuit of the slow one, which needs three quarters of a minute to be found out, and
 * all controls: the reduced one has the first two.
 */
import { loadavg } from 'node:os'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { type Cluster, createDatabases, startCluster } from '../support/cluster.js'
import { judgeBreakers, judgeStorm, type Latency, latencyAtOk } from './webhook-judge.js'
import { runWebhookStorm, type WebhookStorm } from './webhook-storm.js'

const { values } = parseArgs({
  options: {
    reduced: { type: 'boolean', default: false },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    rate: { type: 'string' },
    'no-controls': { type: 'boolean', default: false },
  },
})
const seed = Number(values.seed)
const size = values.reduced ? { messages: 400, rate: 20, kills: 2 } : { messages: 10_000, rate: 60, kills: 5 }
const rate = Number(values.rate ?? size.rate)
const OK_P99_MS = 2_000

/** What is broken on purpose (webhook-control.ts), and the word by which the judge must find it. */
const controls = {
  'fire-and-forget': /never taken/,
  'new-id': /not signed/,
  'one-secret': /both secrets/,
  'follow-redirects': /redirect was followed/,
  late: /p99/,
} as const

console.log(`G12 webhooks, seed ${seed}, ${size.messages} events at ${rate}/s, ${size.kills} kills`)
const startedAt = performance.now()
const failures: string[] = []
const cluster = await startCluster()
failures.push(...(await product(cluster)))
if (!values['no-controls']) failures.push(...(await allControls(cluster)))
await cluster.stop()
console.log(`  ${((performance.now() - startedAt) / 1_000).toFixed(0)} s`)
for (const failure of failures) console.log(`  FAILED: ${failure}`)
console.log(failures.length === 0 ? 'G12 holds' : 'G12 does not hold')
process.exit(failures.length === 0 ? 0 : 1)

async function product({ url }: Cluster): Promise<string[]> {
  const storm = await runWebhookStorm({
    ...size,
    rate,
    seed,
    databaseUrl: url,
    log: (line) => console.log(`  ${line}`),
  })
  report(storm)
  const judged = [...judgeStorm(storm), ...judgeBreakers(storm, ['dead', 'redirecting'])]
  if (!values.reduced) judged.push(...judgeBreakers(storm, ['slow']), ...judgeTime(storm))
  await storm.endpoints.stop()
  return judged
}

function judgeTime(storm: WebhookStorm): string[] {
  const { p99 } = latencyAtOk(storm).calm
  return p99 <= OK_P99_MS ? [] : [`ok: p99 is ${p99} ms`]
}

function report(storm: WebhookStorm): void {
  const { endpoints, wanted, breakers } = storm
  for (const { name, arrivals, taken } of endpoints.all) {
    const breaker = breakers.find((one) => one.name === name)
    const opened =
      breaker && breaker.state !== 'closed' ? `, its circuit opened after ${breaker.triesBefore} tries` : ''
    console.log(`  ${name}: ${taken.size} of ${wanted.size} events in ${arrivals.length} arrivals${opened}`)
  }
  const told = ({ count, p50, p99, max }: Latency) => `p50 ${p50} p99 ${p99} max ${max} ms of ${count}`
  const { calm, all } = latencyAtOk(storm)
  console.log(`  event to arrival at ok: ${told(calm)}; with the deaths ${told(all)}; load ${loadavg()[0]?.toFixed(0)}`)
}

// The controls

async function allControls({ url }: Cluster): Promise<string[]> {
  const all = Object.keys(controls) as (keyof typeof controls)[]
  const names = values.reduced ? all.slice(0, 2) : all
  const databases = await createDatabases(url, names)
  const problems: string[] = []
  for (const name of names) problems.push(...(await runControl(name, databases[name])))
  return problems
}

async function runControl(name: keyof typeof controls, databaseUrl: string): Promise<string[]> {
  const command = ['--import', 'tsx', fileURLToPath(new URL('webhook-control.ts', import.meta.url)), name]
  const storm = await runWebhookStorm({
    ...{ messages: 100, rate: 10, kills: 0, seed, databaseUrl },
    mirante: { command },
    patienceMs: 30_000,
    log: () => {},
  })
  const found = [...judgeStorm(storm), ...judgeTime(storm)].filter((problem) => controls[name].test(problem))
  await storm.endpoints.stop()
  console.log(`  control ${name}: ${found.length > 0 ? `caught (${found[0]})` : 'NOT caught'}`)
  return found.length > 0 ? [] : [`the control ${name} went unnoticed`]
}
