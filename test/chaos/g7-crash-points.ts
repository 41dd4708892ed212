/**
 * G7, persist before send and before receipt: kill -9 at every named crash point while messages go both ways. No ratchet
 * counter is used twice, nothing is lost, shown twice, stored twice or reordered, and all comes to rest after the restart.
 * Then the control: a journal that is written after the wire must be caught.
 * `tsx test/chaos/g7-crash-points.ts [--reduced] [--rounds N] [--point NAME …] [--seed N] [--controls-only|--no-controls]`;
 * exit 1 on failure.
 */
import { parseArgs } from 'node:util'
import { seededRandom } from '../../src/kernel/random.js'
import { type RoundOptions, runRound } from './crash-round.js'
import { type CrashWorld, createCrashWorld, type WorldOptions } from './crash-world.js'
import { runPairingRound } from './pairing-round.js'

/** In the order in which a message comes to them: out, and in; and wherever credentials are written while a number is linked. */
const POINTS = [
  'before-accept',
  'after-accept',
  'after-claim',
  'before-ratchet',
  'after-ratchet',
  'after-write',
  'after-ack',
  'after-settle',
  'at-retry',
  'before-inbound-store',
  'after-inbound-store',
  'after-receipt',
  'before-ingest-commit',
  'after-ingest-commit',
  'pairing',
] as const
const CONTROL_ROUNDS = 5
/** By then the sweep has ingested what it can: what is missing is lost. */
const SWEPT_MS = 30_000

const { values } = parseArgs({
  options: {
    reduced: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    point: { type: 'string', multiple: true, default: [...POINTS] },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    'controls-only': { type: 'boolean', default: false },
    'no-controls': { type: 'boolean', default: false },
  },
})
const seed = Number(values.seed)
const rounds = Number(values.rounds ?? (values.reduced ? 3 : 20))

console.log(`G7 crash points, seed ${seed}, ${rounds} rounds at each`)
const failures: string[] = []
if (!values['controls-only']) failures.push(...(await product()))
if (!values['no-controls']) failures.push(...(await control()))
for (const failure of failures) console.log(`  FAILED: ${failure}`)
console.log(failures.length === 0 ? 'G7 holds' : 'G7 does not hold')
process.exit(failures.length === 0 ? 0 : 1)

async function product(): Promise<string[]> {
  const random = seededRandom(seed)
  const problems: string[] = []
  const table: Record<string, object> = {}
  await withWorlds({ seed }, async (round) => {
    for (const point of values.point) {
      const verdicts: Verdict[] = []
      for (let n = 1; n <= rounds; n++) {
        const name = `${point} ${n}`
        const verdict = await round({ name, point, random })
        if (typeof verdict === 'string') problems.push(`${name}: ${verdict}`)
        else verdicts.push(verdict)
        if (typeof verdict !== 'string') problems.push(...judge(verdict).map((problem) => `${name}: ${problem}`))
      }
      table[point] = { rounds: verdicts.length, ...totals(verdicts) }
    }
  })
  console.table(table)
  return problems
}

/** A journal written after the wire: what left twice under one counter, and what was confirmed and then lost. */
async function control(): Promise<string[]> {
  const random = seededRandom(seed)
  const caught = { reusedCounters: 0, inboundLost: 0 }
  await withWorlds({ seed, writtenLater: true }, async (round) => {
    for (let n = 1; n <= CONTROL_ROUNDS && caught.reusedCounters === 0; n++) {
      const out = { name: `control out ${n}`, point: 'after-write', random, settleWithinMs: 5_000 }
      const verdict = await round(out)
      if (typeof verdict !== 'string') caught.reusedCounters += verdict.reusedCounters ?? 0
    }
    for (let n = 1; n <= CONTROL_ROUNDS && caught.inboundLost === 0; n++) {
      const verdict = await round({ name: `control in ${n}`, point: 'after-receipt', random, settleWithinMs: SWEPT_MS })
      if (typeof verdict !== 'string' && verdict.stuck === 0) caught.inboundLost += verdict.inboundLost ?? 0
    }
  })
  console.log(`control written-later: ${JSON.stringify(caught)}`)
  return Object.entries(caught).flatMap(([name, count]) =>
    count > 0 ? [] : [`the control went unnoticed: a journal written after the wire, ${name} is 0`],
  )
}

type Verdict = Readonly<Record<string, number>>
type Round = (options: RoundOptions) => Promise<Verdict | string>

/** Rounds in one world, and in a new one after a round that failed: each failure speaks for itself. */
async function withWorlds(options: WorldOptions, work: (round: Round) => Promise<void>): Promise<void> {
  let world: CrashWorld | undefined
  const close = async (): Promise<void> => {
    await world?.stop()
    world = undefined
  }
  try {
    await work(async (round) => {
      const startedAt = performance.now()
      world ??= await createCrashWorld(options)
      const outcome = await runOne(world, round).catch((error: unknown) => String(error))
      const isFine = typeof outcome !== 'string' && judge(outcome).length === 0
      const seconds = ((performance.now() - startedAt) / 1_000).toFixed(1)
      console.log(`  ${round.name}: ${seconds} s ${isFine ? 'fine' : JSON.stringify(outcome)}`)
      if (!isFine) await close()
      return outcome
    })
  } finally {
    await close()
  }
}

async function runOne(world: CrashWorld, round: RoundOptions): Promise<Verdict> {
  return round.point === 'pairing'
    ? { ...(await runPairingRound(world, round)) }
    : { ...(await runRound(world, round)) }
}

function judge({ crashes, sent, received, scannedAgain, ...zeros }: Verdict): string[] {
  return Object.entries(zeros).flatMap(([name, value]) => (value === 0 ? [] : [`${name} is ${value}, not 0`]))
}

function totals(verdicts: readonly Verdict[]): Record<string, number> {
  const sums: Record<string, number> = {}
  for (const verdict of verdicts) {
    for (const [name, value] of Object.entries(verdict)) sums[name] = (sums[name] ?? 0) + Number(value)
  }
  return sums
}
