/**
 * G21, replication: a primary and its synchronous standby, both in DATABASE_URL, two Mirantes, a load in both directions. The
 * primary is killed with -9 and the standby promoted; the primary stands still, the standby is promoted, and the old one wakes
 * up beside it. No message that was answered with 202 is lost or shown twice, order is kept, what came in is there, no QR is
 * asked for, and all of it goes on by itself. Control: an asynchronous standby that has fallen behind is promoted; the loss
 * must be noticed.
 * `tsx test/chaos/g21-failover.ts [--reduced] [--seed N] [--controls-only|--no-controls]`; exit 1 on failure.
 */
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { seededRandom } from '../../src/kernel/random.js'
import { launchMirante, type SimulatorProcess } from '../support/launch.js'
import { type PostgresPair, startPostgresPair } from '../support/servers/postgres-pair.js'
import { runStorm, type StormVerdict } from './storm.js'

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
  ? { chats: 20, messagesPerChat: 50, inboundPerChat: 10, rate: 40, rounds: 1 }
  : { chats: 50, messagesPerChat: 80, inboundPerChat: 20, rate: 50, rounds: 3 }
const random = seededRandom(seed)
const log = (line: string): void => console.log(`  ${line}`)

console.log(`G21 failover, seed ${seed}, ${values.reduced ? 'reduced' : 'full'}`)
const failures: string[] = []
if (!values['controls-only']) failures.push(...(await product()))
if (!values['no-controls']) failures.push(...(await control()))
for (const failure of failures) console.log(`  FAILED: ${failure}`)
console.log(failures.length === 0 ? 'G21 holds' : 'G21 does not hold')
process.exit(failures.length === 0 ? 0 : 1)

async function product(): Promise<string[]> {
  const pair = await startPostgresPair()
  try {
    const env = { DATABASE_URL: pair.url, ENCRYPTION_KEY: randomBytes(32).toString('hex'), LOG_LEVEL: 'error' }
    const verdict = await runStorm({
      ...{ ...size, seed, kills: [], pauseMs: { min: 0, max: 0 }, log },
      mirante: { env: { ...env, REPLICA_NAME: 'first' } },
      disturb: (simulator) => failOver(pair, simulator, { ...env, REPLICA_NAME: 'second' }),
    })
    console.log(JSON.stringify(verdict, null, 1))
    return judge(verdict)
  } finally {
    await pair.stop()
  }
}

function judge({ sent, inboundSent, resentUnderSameId, settledMs, ...zeros }: StormVerdict): string[] {
  const failed = Object.entries(zeros).filter(([, value]) => value !== 0)
  const problems = failed.map(([name, value]) => `${name} is ${value}, not 0`)
  return settledMs === undefined ? [...problems, 'it never settled'] : problems
}

/** A second Mirante stands by all the time: it must not take what the first one holds, and may not disturb it. */
async function failOver(
  pair: PostgresPair,
  simulator: SimulatorProcess,
  env: Readonly<Record<string, string>>,
): Promise<void> {
  const second = await launchMirante({ simulator, env })
  try {
    for (let round = 1; round <= size.rounds; round++) {
      await pause()
      log(`round ${round}: kill -9 of the primary, promotion of the standby`)
      await pair.killPrimary()
      await pause()
      await pair.promote()
      await pause()
      await pair.restartAsStandby()
      await pause()
      log(`round ${round}: the primary stands still, promotion of the standby, the old primary wakes up`)
      pair.freezePrimary()
      await pause()
      await pair.promote()
      await pause()
      pair.standby.thaw()
      await pause()
      await pair.restartAsStandby()
    }
    await second.ready()
  } finally {
    await second.stop()
  }
}

function pause(): Promise<void> {
  return sleep(500 + random() * 2_500)
}

/** What the promotion of a standby that is behind loses, the judgement has to see. */
async function control(): Promise<string[]> {
  const pair = await startPostgresPair({ synchronous: false })
  try {
    const { acceptedMissing } = await runStorm({
      ...{ chats: 10, messagesPerChat: 60, inboundPerChat: 0, rate: 40, seed, kills: [], pauseMs: { min: 0, max: 0 } },
      mirante: { env: { DATABASE_URL: pair.url, LOG_LEVEL: 'error' } },
      settleWithinMs: 10_000,
      log: () => {},
      async disturb() {
        await sleep(3_000)
        await pair.cutReplication()
        await sleep(3_000)
        await pair.killPrimary()
        await pair.promote()
      },
    })
    console.log(
      `control asynchronous standby: ${acceptedMissing > 0 ? 'caught' : 'NOT caught'} (${acceptedMissing} accepted messages are missing)`,
    )
    return acceptedMissing > 0 ? [] : ['the loss by an asynchronous standby went unnoticed']
  } finally {
    await pair.stop()
  }
}
