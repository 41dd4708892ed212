/**
 * P3: from the due time of a POST to its stanza at the server, at 5 and at 30 messages a second, over bare Baileys. The file
 * of a message was uploaded to us before; to the media host it is uploaded within the time, by both. A p99 is taken over all
 * rounds together, and only of 1,000 samples or more; whatever the number of rounds, there are so many at full scale.
 */
import { startCluster } from '../../test/support/cluster.js'
import { kindOf, partAt } from '../lib/mix.js'
import { arrivals } from '../lib/stanzas.js'
import { atLeastInAll, summarize } from '../lib/stat.js'
import type { Suite } from '../lib/suite.js'
import { startWorld, type World } from '../lib/world.js'
import { type SendTarget, startBare, startMirante } from '../targets/senders.js'

const RATES = [
  { rate: 5, count: 200 },
  { rate: 30, count: 1_000 },
]
/** Enough for every contact and every group to have been written to once. */
const WARM = { count: 60, rate: 10 }

interface Sample {
  readonly kind: string
  readonly ms: number
}

export const suite: Suite = {
  ids: ['P3'],
  durable: true,
  mixes: true,
  async run({ rounds, fsyncUs, mix, scale, seed, report, log }) {
    const world = await startWorld({ mix, seed })
    const cluster = await startCluster({ fsyncUs })
    const bare = await startBare(world)
    const us = await startMirante(world, { env: { DATABASE_URL: cluster.url } })
    const pooled = new Map<string, number[]>()
    try {
      for (const target of [bare, us]) await target.pace(WARM.count, WARM.rate, tagOf(target, 'WARM'))
      for (let round = 1; round <= rounds; round++) {
        for (const { rate, count } of RATES) await measure(round, rate, atLeastInAll(count, rounds) * scale)
      }
      for (const { rate } of RATES) reportTail(rate)
    } finally {
      await bare.stop()
      await us.stop()
      await world.stop()
      await cluster.stop()
    }

    async function measure(round: number, rate: number, count: number): Promise<void> {
      const p50 = new Map<string, number>()
      for (const target of [bare, us]) {
        const samples = await paced(world, target, { count: Math.round(count), rate, tag: `${round}R${rate}` })
        const all = samples.map(({ ms }) => ms)
        const whole = summarize(all)
        pooled.set(`${target.name} ${rate}`, [...(pooled.get(`${target.name} ${rate}`) ?? []), ...all])
        p50.set(target.name, whole.p50)
        log(`${rate}/s: ${target.name} p50 ${whole.p50.toFixed(1)} p95 ${whole.p95.toFixed(1)} ms${told(samples)}`)
        const figure = { id: 'P3', target: target.name, round } as const
        report({ ...figure, metric: `p50_ms_at_${rate}`, value: whole.p50, n: whole.n })
        for (const [kind, ofKind] of byKind(samples)) {
          report({ ...figure, metric: `${kind}_p50_ms_at_${rate}`, value: summarize(ofKind).p50, n: ofKind.length })
        }
      }
      const added = (p50.get('us') ?? Number.NaN) - (p50.get('bare') ?? Number.NaN)
      report({ id: 'P3', target: 'us', round, metric: 'added_p50_ms', value: added, n: Math.round(count) })
    }

    function reportTail(rate: number): void {
      const tail = (name: string): number | null => summarize(pooled.get(`${name} ${rate}`) ?? []).p99
      const [ofBare, ofUs] = [tail('bare'), tail('us')]
      if (ofBare === null || ofUs === null) return
      log(`${rate}/s: p99 bare ${ofBare.toFixed(1)}, us ${ofUs.toFixed(1)} ms`)
      report({ id: 'P3', target: 'bare', round: rounds, metric: `p99_ms_at_${rate}`, value: ofBare })
      report({ id: 'P3', target: 'us', round: rounds, metric: `p99_ms_at_${rate}`, value: ofUs })
      report({ id: 'P3', target: 'us', round: rounds, metric: 'added_p99_ms', value: ofUs - ofBare })
    }
  },
}

/** From due to arrived, for each message. */
async function paced(
  { simulator, mix }: World,
  target: SendTarget,
  { count, rate, tag }: { readonly count: number; readonly rate: number; readonly tag: string },
): Promise<Sample[]> {
  await simulator.admin('DELETE', '/admin/trace')
  const due = await target.pace(count, rate, tagOf(target, tag))
  const arrived = await arrivals(simulator, count, 60_000)
  return arrived.flatMap(({ id, at }) => {
    const was = due.get(id)
    return was ? [{ kind: kindOf(partAt(mix, was.index)), ms: at - was.at }] : []
  })
}

const tagOf = ({ name }: SendTarget, tag: string): string => `3EB0${name === 'us' ? 'A' : 'B'}${tag}`

/** Nothing where there is one kind only. */
function byKind(samples: readonly Sample[]): Map<string, number[]> {
  const kinds = new Map<string, number[]>()
  for (const { kind, ms } of samples) kinds.set(kind, [...(kinds.get(kind) ?? []), ms])
  return kinds.size > 1 ? kinds : new Map()
}

function told(samples: readonly Sample[]): string {
  const kinds = [...byKind(samples)].map(([kind, ms]) => `${kind} ${summarize(ms).p50.toFixed(1)}`)
  return kinds.length > 0 ? ` (${kinds.join(', ')})` : ''
}
