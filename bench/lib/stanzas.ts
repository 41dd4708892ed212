/** Reads from the simulator's trace when messages of a client reached the server, and when it put others on a socket. */
import type { SimulatorProcess } from '../../test/support/launch.js'

export interface Arrival {
  readonly id: string
  /** Epoch ms with decimals. */
  readonly at: number
}

interface Trace {
  readonly entries: readonly {
    readonly n: number
    readonly at: number
    readonly account: string | null
    readonly attrs: Readonly<Record<string, string>>
  }[]
}

/** Messages (first copy of each id) that arrived since the trace was last cleared. Waits until there are `count`. */
export async function arrivals(simulator: SimulatorProcess, count: number, timeoutMs: number): Promise<Arrival[]> {
  const deadline = performance.now() + timeoutMs
  for (;;) {
    const found = await read(simulator)
    if (found.length >= count) return found
    if (performance.now() > deadline) throw new Error(`${found.length} of ${count} messages reached the server in time`)
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

/** When the server first put each message on the socket of this account (epoch ms), by WhatsApp id. */
export async function departures(simulator: SimulatorProcess, account: string): Promise<Map<string, number>> {
  const { entries } = await simulator.admin<Trace>('GET', '/admin/trace?tag=message&direction=out&limit=200000')
  const first = new Map<string, number>()
  for (const entry of entries) {
    const { id } = entry.attrs
    if (id && entry.account === account && !first.has(id)) first.set(id, entry.at)
  }
  return first
}

async function read(simulator: SimulatorProcess): Promise<Arrival[]> {
  const { entries } = await simulator.admin<Trace>('GET', '/admin/trace?tag=message&direction=in&limit=200000')
  const first = new Map<string, Arrival>()
  for (const { at, attrs } of entries) {
    // What a client writes to its own phone (category peer) is no message of a chat.
    if (attrs.category === 'peer' || !attrs.id || first.has(attrs.id)) continue
    first.set(attrs.id, { id: attrs.id, at })
  }
  return [...first.values()]
}
