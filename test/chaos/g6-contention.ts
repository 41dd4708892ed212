/**
 * G6, contention. A hundred takers rush at one lease, a thousand times over: one winner for each epoch. An outside client logs in
 * with a number's credentials whenever we are connected: at most 3 reconnects in five minutes, then DISCONNECTED/REPLACED until
 * the owner acts, the login kept, and no QR when he does. Reduced: the waits after 440 at 1/100. Control: a store that looks and
 * then writes must be seen to give one epoch to two.
 * `tsx test/chaos/g6-contention.ts [--reduced] [--seed N]`; exit 1 on failure.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { eventually } from '../support/eventually.js'
import { connected } from '../support/pair.js'
import { createJudge } from '../support/replicas/judge.js'
import { startLoad } from '../support/replicas/load.js'
import { pairMany } from '../support/replicas/numbers.js'
import { type Replicas, startReplicas } from '../support/replicas/replicas.js'
import { contend, lookThenWrite } from './contention.js'

const { values } = parseArgs({
  options: {
    reduced: { type: 'boolean', default: false },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
  },
})
const seed = Number(values.seed)
const TAKERS = 100
const rounds = values.reduced ? 40 : 1_000
const MAX_RECONNECTS = 3
/** The default policy waits 30, 45 and 68 s. */
const STOPS_WITHIN_MS = values.reduced ? 60_000 : 300_000
const STAYS_MS = values.reduced ? 2_000 : 60_000

console.log(`G6 contention, seed ${seed}, ${values.reduced ? 'reduced' : 'full'}`)
const failures = [...(await takers()), ...(await replaced())]
for (const failure of failures) console.log(`  FAILED: ${failure}`)
console.log(failures.length === 0 ? 'G6 holds' : 'G6 does not hold')
process.exit(failures.length === 0 ? 0 : 1)

async function takers(): Promise<string[]> {
  const verdict = await contend({ takers: TAKERS, rounds })
  console.log(`  ${TAKERS} takers, ${rounds} rounds: ${JSON.stringify(verdict)}`)
  const naive = await contend({ takers: TAKERS, rounds: 5, makeStore: lookThenWrite })
  console.log(`control look-then-write: ${naive.sharedEpochs} epochs given twice`)
  const { sharedEpochs, roundsWithoutOneWinner, wrongHolders } = verdict
  return [
    ...Object.entries({ sharedEpochs, roundsWithoutOneWinner, wrongHolders }).flatMap(([name, count]) =>
      count === 0 ? [] : [`${name} is ${count}, not 0`],
    ),
    ...(naive.sharedEpochs > 0 ? [] : ['the control went unnoticed: look, then write']),
  ]
}

async function replaced(): Promise<string[]> {
  const hasty = ['--import', 'tsx', fileURLToPath(new URL('./hasty-process.ts', import.meta.url))]
  const replicas = await startReplicas({ seed, count: 2, ...(values.reduced && { command: hasty }) })
  try {
    const [number] = await pairMany(replicas, 1)
    if (!number) throw new Error('no number was paired')
    const judge = await createJudge(replicas, [number])
    const { account, instanceId } = number
    const loginsBefore = await loginsOf(replicas, account)
    const over = new AbortController()
    const outsider = kickOutAgainAndAgain(replicas, account, over.signal)
    await eventually(
      async () => (await statusOf(replicas, instanceId)) === 'DISCONNECTED/REPLACED',
      'it gives up',
      STOPS_WITHIN_MS,
    )
    await sleep(STAYS_MS)
    const status = await statusOf(replicas, instanceId)
    const reconnects = (await loginsOf(replicas, account)) - loginsBefore
    over.abort()
    await outsider
    const logins = await replicas.db.query(`select from credential where kind = 'creds'`)
    console.log(`  kicked out again and again: ${reconnects} reconnects, then ${status}, ${logins.rowCount} login kept`)
    await replicas.api('POST', `/api/instances/${instanceId}/restart`)
    await connected(replicas, instanceId)
    const load = startLoad(replicas, [number], {})
    await sleep(1_000)
    await load.stop()
    await judge.settle(load, 60_000)
    const { newQrs, loginsDeleted, lost } = (await judge.judge(load)).zeros
    return [
      ...(reconnects <= MAX_RECONNECTS ? [] : [`${reconnects} reconnects, not at most ${MAX_RECONNECTS}`]),
      ...(status === 'DISCONNECTED/REPLACED' ? [] : [`it became ${status} by itself`]),
      ...(logins.rowCount === 1 ? [] : ['the login is gone']),
      ...Object.entries({ newQrs, loginsDeleted, lost }).flatMap(([name, count]) =>
        count === 0 ? [] : [`${name} is ${count}, not 0`],
      ),
    ]
  } finally {
    await replicas.stop()
  }
}

/** What an outside client with the same credentials does to us: whenever we are connected, WhatsApp closes us with 440. */
async function kickOutAgainAndAgain({ simulator }: Replicas, account: string, over: AbortSignal): Promise<void> {
  while (!over.aborted) {
    const { companions } = await simulator.admin<{ companions: { active: boolean }[] }>(
      'GET',
      `/admin/accounts/${account}`,
    )
    if (companions.some(({ active }) => active)) {
      await simulator.admin('POST', '/admin/faults', { action: 'replaced', account })
    }
    await sleep(100)
  }
}

async function loginsOf({ simulator }: Replicas, account: string): Promise<number> {
  return (await simulator.admin<{ logins: number }>('GET', `/admin/accounts/${account}`)).logins
}

async function statusOf(replicas: Replicas, instanceId: string): Promise<string> {
  const { body } = await replicas.api('GET', `/api/instances/${instanceId}/status`)
  return `${body.connectionStatus}/${body.reason}`
}
