/** P3: from the due time of a POST to its stanza at the server, at 5 and at 30 messages a second, over bare Baileys. */

import { startCluster } from '../../test/support/cluster.js'
import { launchSimulator } from '../../test/support/launch.js'
import { arrivals } from '../lib/stanzas.js'
import { summarize } from '../lib/stat.js'
import type { Suite } from '../lib/suite.js'
import { startBare, startMirante } from '../targets/senders.js'
import { contacts } from './p04-saturated.js'

const RATES = [
  { rate: 5, count: 200 },
  { rate: 30, count: 1_000 },
]

export const suite: Suite = {
  ids: ['P3'],
  durable: true,
  async run({ rounds, fsyncUs, scale, seed, report, log }) {
    const simulator = await launchSimulator(['--latency-ms', '0', '--seed', String(seed), '--decrypt', 'none'])
    const cluster = await startCluster({ fsyncUs })
    const phones = await contacts(simulator)
    const targets = [
      await startBare(simulator, phones),
      await startMirante(simulator, phones, { env: { DATABASE_URL: cluster.url } }),
    ]
    try {
      for (const target of targets) await target.pace(40, 10, `3EB0${target.name === 'us' ? 'A' : 'B'}WARM`)
      for (let round = 1; round <= rounds; round++) {
        for (const { rate, count } of RATES) {
          const latencies = new Map<string, number[]>()
          for (const target of targets) {
            await simulator.admin('DELETE', '/admin/trace')
            const n = Math.round(count * scale)
            const dueAt = await target.pace(n, rate, `3EB0${target.name === 'us' ? 'A' : 'B'}${round}R${rate}`)
            const arrived = await arrivals(simulator, n, 60_000)
            latencies.set(
              target.name,
              arrived.map(({ id, at }) => at - (dueAt[id] ?? Number.NaN)).filter((value) => !Number.isNaN(value)),
            )
          }
          const bare = summarize(latencies.get('bare') ?? [])
          const us = summarize(latencies.get('us') ?? [])
          log(
            `${rate}/s: bare p50 ${bare.p50.toFixed(1)} p99 ${bare.p99?.toFixed(1)} · us p50 ${us.p50.toFixed(1)} p99 ${us.p99?.toFixed(1)}`,
          )
          report({ id: 'P3', target: 'bare', round, metric: `p50_ms_at_${rate}`, value: bare.p50, n: bare.n })
          report({ id: 'P3', target: 'us', round, metric: `p50_ms_at_${rate}`, value: us.p50, n: us.n })
          report({ id: 'P3', target: 'us', round, metric: 'added_p50_ms', value: us.p50 - bare.p50, n: us.n })
          if (us.p99 === null || bare.p99 === null) continue
          report({ id: 'P3', target: 'us', round, metric: 'added_p99_ms', value: us.p99 - bare.p99, n: us.n })
        }
      }
    } finally {
      for (const target of targets) await target.stop()
      await simulator.stop()
      await cluster.stop()
    }
  },
}
