/**
 * P9: three replicas with many numbers under load; the one that holds most of them is killed with -9, then another is frozen
 * for longer than the term of its leases, then one is ended by SIGTERM. From then to the first stanza of each of its numbers
 * at the server; the last of them is judged. (Each number writes once a second, which is in these times.) The term of leases
 * is 45 s at full scale and a fifth of it below. What must never happen is counted as in test/chaos/g5-failover.ts.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { eventually } from '../../test/support/eventually.js'
import { createJudge } from '../../test/support/replicas/judge.js'
import { startLoad } from '../../test/support/replicas/load.js'
import { pairMany } from '../../test/support/replicas/numbers.js'
import { type Replica, type Replicas, startReplicas } from '../../test/support/replicas/replicas.js'
import { longestSilenceMs, readSends, type Sends } from '../../test/support/replicas/sends.js'
import { summarize } from '../lib/stat.js'
import type { Suite } from '../lib/suite.js'

const NUMBERS = 100
const LEAST_NUMBERS = 6
const REPLICAS = 3
const TTL_MS = 45_000
const SMALL_TTL_MS = 9_000
const CALM_MS = 5_000
/** What was on its way when the process died still arrives. */
const STRAGGLERS_MS = 50
const BACK_WITHIN_MS = 180_000
const SETTLED_WITHIN_MS = 300_000

export const suite: Suite = {
  ids: ['P9'],
  durable: false,
  mixes: false,
  async run({ rounds, scale, seed, report, log }) {
    const count = Math.max(LEAST_NUMBERS, Math.round(NUMBERS * scale))
    const ttlMs = scale >= 1 ? TTL_MS : SMALL_TTL_MS
    log(`${count} numbers on ${REPLICAS} replicas, TTL ${ttlMs} ms`)
    const replicas = await startReplicas({ seed, count: REPLICAS, env: { LEASE_TTL_MS: String(ttlMs) } })
    try {
      const numbers = await pairMany(replicas, count)
      const judge = await createJudge(replicas, numbers)
      const load = startLoad(replicas, numbers)
      await sleep(CALM_MS)
      for (let round = 1; round <= rounds; round++) {
        const figure = (metric: string, value: number, n?: number): void =>
          report({ id: 'P9', target: 'us', round, metric, value, ...(n !== undefined && { n }) })
        for (const [name, times] of Object.entries(await failOver(replicas, ttlMs))) {
          const { p50, max, n } = summarize(times)
          log(`${name}: p50 ${p50.toFixed(0)} ms, last ${max.toFixed(0)} ms of ${n} numbers`)
          figure(name, max, n)
          figure(`${name}_p50`, p50, n)
        }
      }
      await load.stop()
      const settled = await judge.settle(load, SETTLED_WITHIN_MS)
      const { zeros } = await judge.judge(load)
      const broken = Object.entries(zeros).filter(([, value]) => value > 0)
      if (broken.length > 0 || !settled)
        log(`broken: ${JSON.stringify(Object.fromEntries(broken))}, settled: ${settled}`)
      const value = broken.reduce((sum, [, found]) => sum + found, settled ? 0 : 1)
      report({ id: 'P9', target: 'us', round: rounds, metric: 'broken', value, n: load.accepted })
    } finally {
      await replicas.stop()
    }
  },
}

/** One kill, one freeze, one handover; for each number of the replica in question a time in ms. */
async function failOver(replicas: Replicas, ttlMs: number): Promise<Readonly<Record<string, readonly number[]>>> {
  const kill = await endOne(replicas, async (victim) => replicas.kill(victim))
  await replicas.start(kill.victim)
  await sleep(CALM_MS)
  const freeze = await endOne(replicas, async (victim) => {
    replicas.freeze(victim)
    // Its leases may be taken when they have not been renewed for so long.
    await sleep(ttlMs)
  })
  replicas.thaw(freeze.victim)
  await sleep(CALM_MS)
  const handover = await endOne(replicas, (victim) => replicas.terminate(victim))
  await replicas.start(handover.victim)
  await sleep(CALM_MS)
  return {
    kill_first_stanza_ms: firstAfter(kill),
    freeze_beyond_ttl_ms: firstAfter(freeze).map((ms) => ms - ttlMs),
    handover_silence_ms: handover.accounts.map((account) => longestSilenceMs(handover.sends, account, handover)),
  }
}

interface Ended {
  readonly victim: Replica
  /** Its numbers. */
  readonly accounts: readonly string[]
  /** Epoch ms. */
  readonly from: number
  readonly to: number
  readonly sends: Sends
}

async function endOne(replicas: Replicas, how: (victim: Replica) => Promise<void>): Promise<Ended> {
  const victim = await replicas.busiest()
  const accounts = [...(await replicas.holders())].flatMap(([account, name]) => (name === victim.name ? [account] : []))
  const from = performance.timeOrigin + performance.now()
  await how(victim)
  await eventually(
    async () => {
      const sends = await readSends(replicas.simulator)
      return accounts.every((account) => sends.get(account)?.some((at) => at > from + STRAGGLERS_MS))
    },
    `the numbers of ${victim.name} send again`,
    BACK_WITHIN_MS,
  )
  await sleep(CALM_MS)
  const to = performance.timeOrigin + performance.now()
  return { victim, accounts, from, to, sends: await readSends(replicas.simulator) }
}

const firstAfter = ({ accounts, sends, from }: Ended): number[] =>
  accounts.map((account) => (sends.get(account)?.find((at) => at > from + STRAGGLERS_MS) ?? Number.NaN) - from)
