/**
 * P4 and P5: one number, as fast as it goes. Rate from the first to the last stanza at the server; CPU of all processes of
 * the target, PostgreSQL aside; files included: bare encrypts and uploads them to the media host, we take them in by HTTP,
 * store them, and do the same. Target by target in turn, the first round dropped.
 */
import { fileURLToPath } from 'node:url'
import { createDatabases, startCluster } from '../../test/support/cluster.js'
import type { SimulatorProcess } from '../../test/support/launch.js'
import { usageOf } from '../lib/proc.js'
import { arrivals } from '../lib/stanzas.js'
import type { Suite } from '../lib/suite.js'
import { startWorld } from '../lib/world.js'
import { type SendTarget, startBare, startMirante } from '../targets/senders.js'

const MESSAGES = 2_000
/** A control: a commit for each entry of the journal. It must miss the gate when commits are slow. */
const commitEach = fileURLToPath(new URL('../targets/commit-each.ts', import.meta.url))

export const suite: Suite = {
  ids: ['P4', 'P5'],
  durable: true,
  mixes: true,
  async run({ rounds, fsyncUs, mix, scale, seed, report, log }) {
    const world = await startWorld({ mix, seed })
    const { simulator } = world
    const cluster = await startCluster({ fsyncUs })
    const databases = await createDatabases(cluster.url, ['us', 'commit-each'])
    const targets = [
      await startBare(world),
      await startMirante(world, { env: { DATABASE_URL: databases.us } }),
      await startMirante(world, {
        name: 'commit-each',
        account: '5511999980003',
        command: ['--import', 'tsx', commitEach],
        env: { DATABASE_URL: databases['commit-each'] },
      }),
    ]
    const count = Math.round(MESSAGES * scale)
    try {
      for (let round = 0; round <= rounds; round++) {
        for (const target of targets) {
          const tag = `3EB0${target.name.slice(0, 1).toUpperCase()}${String(round).padStart(3, '0')}F${fsyncUs > 0 ? 1 : 0}`
          const { perSecond, cpuMs, rssMb } = await saturate(simulator, target, count, tag)
          log(`${target.name}: ${perSecond.toFixed(0)} msg/s, ${cpuMs.toFixed(2)} ms CPU each, ${rssMb.toFixed(0)} MB`)
          if (round === 0) continue
          report({ id: 'P4', target: target.name, round, metric: 'messages_per_s', value: perSecond, n: count })
          report({ id: 'P5', target: target.name, round, metric: 'cpu_ms_per_message', value: cpuMs, n: count })
          report({ id: 'P5', target: target.name, round, metric: 'rss_mb', value: rssMb })
        }
      }
    } finally {
      for (const target of targets) await target.stop()
      await world.stop()
      await cluster.stop()
    }
  },
}

async function saturate(simulator: SimulatorProcess, target: SendTarget, count: number, tag: string) {
  await simulator.admin('DELETE', '/admin/trace')
  const before = usageOf(target.pid)
  await target.saturate(count, tag)
  const arrived = (await arrivals(simulator, count, 120_000)).toSorted((left, right) => left.at - right.at)
  // Receipts and statuses belong to the message.
  await new Promise((resolve) => setTimeout(resolve, 1_000))
  const after = usageOf(target.pid)
  const spanMs = (arrived.at(-1)?.at ?? 0) - (arrived[0]?.at ?? 0)
  return {
    perSecond: ((arrived.length - 1) * 1_000) / spanMs,
    cpuMs: (after.cpuMs - before.cpuMs) / count,
    rssMb: after.rssMb,
  }
}
