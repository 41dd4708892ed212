/**
 * G8: 5,000 messages in 50 chats and an inbound stream under 30 kill -9 of gateway, web process, supervisor and PostgreSQL.
 * Nothing is lost, shown twice, reordered, or stored twice; no ratchet counter is used twice; all is settled within 30 s of
 * the last kill (in the reduced run, which has to pass on a busy machine: at all). Then the controls: each broken promise
 * must be noticed.
 * `tsx test/chaos/g8-storm.ts [--reduced] [--seed N] [--controls-only|--no-controls]`; exit 1 on failure.
 */
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { startCluster } from '../support/cluster.js'
import { chooseKills, runStorm, type StormVerdict } from './storm.js'

const { values } = parseArgs({
  options: {
    reduced: { type: 'boolean', default: false },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    'controls-only': { type: 'boolean', default: false },
    'no-controls': { type: 'boolean', default: false },
  },
})
const seed = Number(values.seed)
const size = values.reduced
  ? { chats: 20, messagesPerChat: 40, inboundPerChat: 10, rate: 40, kills: 8 }
  : { chats: 50, messagesPerChat: 100, inboundPerChat: 20, rate: 60, kills: 30 }
interface Control {
  readonly name: string
  readonly inboundPerChat: number
  /** With some, there is always a message in flight; without, receipts are with WhatsApp as soon as they are written. */
  readonly latencyMs: number
  readonly caughtAt: (verdict: StormVerdict) => number
}

const controls: readonly Control[] = [
  { name: 'random-id', inboundPerChat: 30, latencyMs: 100, caughtAt: ({ shownTwice }) => shownTwice },
  // Who answers makes our side begin a new ratchet chain, and hides the counters that were used twice in the old one.
  {
    name: 'send-first',
    inboundPerChat: 0,
    latencyMs: 100,
    caughtAt: ({ reusedCounters, undecryptable }) => reusedCounters + undecryptable,
  },
  { name: 'receipt-first', inboundPerChat: 60, latencyMs: 0, caughtAt: ({ inboundLost }) => inboundLost },
]

const SETTLED_WITHIN_MS = 30_000
const log = (line: string): void => console.log(`  ${line}`)

console.log(`G8 storm, seed ${seed}, ${values.reduced ? 'reduced' : 'full'}`)
const failures: string[] = []
if (!values['controls-only']) failures.push(...(await product()))
if (!values['no-controls']) failures.push(...(await allControls()))
for (const failure of failures) console.log(`  FAILED: ${failure}`)
console.log(failures.length === 0 ? 'G8 holds' : 'G8 does not hold')
process.exit(failures.length === 0 ? 0 : 1)

async function product(): Promise<string[]> {
  const verdict = await runStorm({
    ...size,
    seed,
    kills: chooseKills(size.kills, seed),
    pauseMs: { min: 300, max: 3_500 },
    log,
  })
  console.log(JSON.stringify(verdict, null, 1))
  return judge(verdict)
}

function judge(verdict: StormVerdict): string[] {
  const { sent, inboundSent, resentUnderSameId, settledMs, ...zeros } = verdict
  const failed = Object.entries(zeros).filter(([, value]) => value !== 0)
  const problems = failed.map(([name, value]) => `${name} is ${value}, not 0`)
  if (settledMs === undefined) problems.push('it never settled')
  else if (!values.reduced && settledMs > SETTLED_WITHIN_MS)
    problems.push(`settled ${Math.round(settledMs)} ms after the last kill or message`)
  return problems
}

/** Each must be caught at what it breaks. */
async function allControls(): Promise<string[]> {
  const problems: string[] = []
  for (const control of controls) {
    const { name } = control
    const caught = control.caughtAt(await runControl(control))
    console.log(`control ${name}: ${caught > 0 ? 'caught' : 'NOT caught'} (${caught})`)
    if (caught === 0) problems.push(`the control ${name} went unnoticed`)
  }
  return problems
}

async function runControl({ name, inboundPerChat, latencyMs }: Control): Promise<StormVerdict> {
  const cluster = await startCluster()
  try {
    return await runStorm({
      chats: 10,
      messagesPerChat: 160,
      inboundPerChat,
      rate: 40,
      seed,
      kills: Array.from({ length: 4 }, () => 'supervisor' as const),
      // Late enough for the number to be sending again for some seconds.
      pauseMs: { min: 8_000, max: 10_000 },
      simulatorFlags: ['--latency-ms', String(latencyMs)],
      settleWithinMs: 15_000,
      mirante: {
        env: { DATABASE_URL: cluster.url, LOG_LEVEL: 'error' },
        command: ['--import', 'tsx', fileURLToPath(new URL('./control-process.ts', import.meta.url)), name],
      },
      log: () => {},
    })
  } finally {
    await cluster.stop()
  }
}
