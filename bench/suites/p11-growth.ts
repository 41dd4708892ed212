/**
 * P11: what grows must not cost more. (a) One number against a hundred at the same total rate: CPU for each message and accept
 * latency, and what a hundred idle numbers cost. (b) Accept latency with none, one and ten million messages stored; the
 * statements of sending are in suite `claim`. (c) Claiming a job with none and 100,000 waiting, and renewing the leases of a
 * process, by number. `--scale` shrinks all of it: at 0.01 there are 100,000 messages, and it takes minutes.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { createDatabases, startCluster } from '../../test/support/cluster.js'
import { launchMirante } from '../../test/support/launch.js'
import { pairByQr } from '../../test/support/pair.js'
import { openLoop } from '../lib/load.js'
import { itemAt } from '../lib/mix.js'
import { usageOf } from '../lib/proc.js'
import { arrivals } from '../lib/stanzas.js'
import { summarize } from '../lib/stat.js'
import type { Suite, SuiteContext } from '../lib/suite.js'
import { startWorld } from '../lib/world.js'
import { type AcceptTarget, acceptRequest, startOurs } from '../targets/accept.js'
import { createPoster, type Poster } from '../targets/poster.js'
import { storeMessages } from '../targets/stored-messages.js'
import { byLeases, byWaitingJobs } from './p11-claims.js'

const NUMBERS = 100
const TOTAL_RATE = 20
const RATE_SECONDS = 60
const IDLE_SECONDS = 30
const STORED = [0, 1_000_000, 10_000_000]
const ACCEPTS = { rate: 200, seconds: 30 }

export const suite: Suite = {
  ids: ['P11'],
  durable: false,
  mixes: false,
  async run(context) {
    await byNumbers(context)
    await byStored(context)
    await byWaitingJobs(context)
    await byLeases(context)
  },
}

async function byNumbers({ rounds, mix, scale, seed, report, log }: SuiteContext): Promise<void> {
  const full = Math.max(4, Math.round(NUMBERS * scale))
  const world = await startWorld({ mix, seed })
  const cluster = await startCluster()
  const env = { DATABASE_URL: cluster.url, LOG_LEVEL: 'error', ...world.env }
  const mirante = await launchMirante({ simulator: world.simulator, env })
  const posters: Poster[] = []
  try {
    const measured = new Map<number, Awaited<ReturnType<typeof measure>>[]>()
    for (const numbers of [1, full]) {
      while (posters.length < numbers) {
        const account = `5511999930${String(100 + posters.length)}`
        const instanceId = await pairByQr(mirante, world.simulator, `number ${posters.length}`, account)
        posters.push(await createPoster({ url: mirante.url, instanceId }))
      }
      // The first round warms up and is dropped.
      for (let round = 0; round <= rounds; round++) {
        const found = await measure(numbers, `${numbers}-${round}`)
        log(
          `${numbers} numbers: ${found.cpu.toFixed(2)} ms CPU, accept p50 ${found.p50.toFixed(1)} ms, idle ${found.idle.toFixed(2)} %`,
        )
        if (round > 0) measured.set(numbers, [...(measured.get(numbers) ?? []), found])
      }
    }
    for (let at = 0; at < rounds; at++) {
      const [one, many] = [measured.get(1)?.[at], measured.get(full)?.[at]]
      if (!one || !many) continue
      const figure = (metric: string, value: number): void =>
        report({ id: 'P11', target: 'us', round: at + 1, metric, value, n: full })
      figure('cpu_per_message_to_one', many.cpu / one.cpu)
      figure('accept_p50_to_one', many.p50 / one.p50)
      figure('idle_cpu_percent', many.idle - one.idle)
      figure('rss_mb', many.rss)
    }
  } finally {
    for (const poster of posters) await poster.close()
    await mirante.stop()
    await cluster.stop()
    await world.stop()
  }

  async function measure(numbers: number, tag: string) {
    const { simulator } = world
    await sleep(2_000)
    const idleMs = Math.max(3_000, IDLE_SECONDS * 1_000 * scale)
    const before = usageOf(mirante.pid)
    await sleep(idleMs)
    const rested = usageOf(mirante.pid)
    const idle = ((rested.cpuMs - before.cpuMs) * 100) / idleMs
    await simulator.admin('DELETE', '/admin/trace')
    const count = Math.max(60, Math.round(TOTAL_RATE * RATE_SECONDS * scale))
    const recipients = { mix, phones: world.phones, groups: [] }
    const samples = await openLoop({ rate: TOTAL_RATE, count }, async (index) => {
      await posters[index % numbers]?.post(itemAt(recipients, tag, index), undefined)
      return true
    })
    await arrivals(simulator, count, 120_000)
    await sleep(1_000)
    const after = usageOf(mirante.pid)
    const refused = samples.filter(({ ok }) => !ok).length
    if (refused > 0) throw new Error(`${refused} of ${count} messages were refused`)
    const p50 = summarize(samples.map(({ latencyMs }) => latencyMs)).p50
    return { cpu: (after.cpuMs - rested.cpuMs) / count, p50, idle, rss: after.rssMb }
  }
}

async function byStored({ rounds, mix, scale, report, log }: SuiteContext): Promise<void> {
  const cluster = await startCluster({ settings: { max_wal_size: '8GB' } })
  const targets: { readonly stored: number; readonly target: AcceptTarget }[] = []
  try {
    for (const millions of STORED) {
      const stored = Math.round(millions * scale)
      const name = `stored_${stored}`
      const { [name]: url = '' } = await createDatabases(cluster.url, [name])
      const target = await startOurs(url, { name, mix })
      const startedAt = performance.now()
      await storeMessages(url, stored)
      log(`${stored} messages stored within ${((performance.now() - startedAt) / 1_000).toFixed(0)} s`)
      targets.push({ stored, target })
    }
    const count = Math.max(100, Math.round(ACCEPTS.rate * ACCEPTS.seconds * Math.min(1, scale * 5)))
    for (let round = 0; round <= rounds; round++) {
      const p50s: number[] = []
      for (const { stored, target } of targets) {
        const { p50 } = summarize(await acceptTimes(target, count))
        log(`${stored} stored: accept p50 ${p50.toFixed(2)} ms`)
        p50s.push(p50)
        if (round > 0) report({ id: 'P11', target: target.name, round, metric: 'accept_p50_ms', value: p50, n: count })
      }
      const [empty = Number.NaN] = p50s
      const value = Math.max(...p50s) / empty
      if (round > 0) report({ id: 'P11', target: 'us', round, metric: 'accept_p50_to_empty', value, n: count })
    }
  } finally {
    for (const { target } of targets) await target.stop()
    await cluster.stop()
  }
}

async function acceptTimes(target: AcceptTarget, count: number): Promise<number[]> {
  const { path, body, headers } = acceptRequest(target)
  const samples = await openLoop({ rate: ACCEPTS.rate, count }, async (index) => {
    const answer = await fetch(`http://127.0.0.1:${target.port}${path}`, {
      ...{ method: 'POST', body: body(index) },
      headers: { ...headers(), 'content-type': 'application/json' },
    })
    await answer.arrayBuffer()
    return answer.status === 202
  })
  const refused = samples.filter(({ ok }) => !ok).length
  if (refused > 0) throw new Error(`${refused} of ${count} messages were refused by ${target.name}`)
  return samples.map(({ latencyMs }) => latencyMs)
}
