/** When each number sent, as the simulator saw it: who was silent, and for how long. */
import type { SimulatorProcess } from '../launch.js'

/** Epoch ms. */
export interface Span {
  readonly from: number
  readonly to: number
}

/** Times (epoch ms, rising) at which messages of a number reached WhatsApp, by number. */
export type Sends = ReadonlyMap<string, readonly number[]>

interface TraceEntry {
  readonly at: number
  readonly account: string | null
  readonly attrs: Readonly<Record<string, string>>
}

const PAGE = 200_000

export async function readSends(simulator: SimulatorProcess): Promise<Sends> {
  const sends = new Map<string, number[]>()
  let after = 0
  for (;;) {
    const page = await simulator.admin<{ entries: readonly TraceEntry[]; last: number }>(
      'GET',
      `/admin/trace?tag=message&direction=in&after=${after}&limit=${PAGE}`,
    )
    for (const { at, account, attrs } of page.entries) {
      // To the owner's own phone, about keys: no message.
      if (!account || attrs.category === 'peer') continue
      const times = sends.get(account)
      if (times) times.push(at)
      else sends.set(account, [at])
    }
    if (page.entries.length < PAGE) return sends
    after = page.last
  }
}

/** The longest time within the span in which this number sent nothing, its edges counted. */
export function longestSilenceMs(sends: Sends, account: string, { from, to }: Span): number {
  const within = (sends.get(account) ?? []).filter((at) => at > from && at < to)
  const edges = [from, ...within, to]
  return Math.max(...edges.slice(1).map((at, index) => at - (edges[index] ?? at)))
}

/** One line about a distribution of times in ms. */
export function describeTimes(times: readonly number[]): string {
  const sorted = times.toSorted((a, b) => a - b)
  const quantile = (share: number): string => seconds(sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)])
  return `min ${quantile(0)} · p50 ${quantile(0.5)} · p90 ${quantile(0.9)} · max ${quantile(1)} (n ${sorted.length})`
}

const seconds = (ms: number | undefined): string => (ms === undefined ? '-' : `${(ms / 1_000).toFixed(1)} s`)
