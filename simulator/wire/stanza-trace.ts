import type { BinaryNode } from './node-codec.js'

export type TraceEntry = {
  readonly n: number
  /** Milliseconds since the epoch, with decimals. */
  readonly at: number
  /** Seen from the server: `in` came from the client. */
  readonly direction: 'in' | 'out'
  readonly connection: number
  readonly account: string | null
  readonly device: number | null
  readonly tag: string
  readonly attrs: Readonly<Record<string, string>>
  /** Tags of the children: enough to tell stanzas apart, never their plaintext. */
  readonly children: readonly string[]
}

export type StanzaTrace = {
  record(entry: Omit<TraceEntry, 'n' | 'tag' | 'attrs' | 'children'>, node: BinaryNode): void
  /** Entries after number `after`, oldest first; what the bound has pushed out is gone. */
  read(query?: { after?: number; limit?: number; tag?: string; direction?: 'in' | 'out' }): TraceEntry[]
  clear(): void
}

/** A ring of the last stanzas: bounded, because benchmarks send a hundred thousand messages. */
export function createStanzaTrace(capacity: number): StanzaTrace {
  let ring: TraceEntry[] = []
  let next = 1
  let oldest = 1

  return {
    record(entry, node) {
      if (capacity === 0) return
      const children = Array.isArray(node.content) ? node.content.map((part) => part.tag) : []
      ring[next % capacity] = { n: next, ...entry, tag: node.tag, attrs: node.attrs, children }
      next++
      if (next - oldest > capacity) oldest = next - capacity
    },
    read({ after = 0, limit = 1000, tag, direction } = {}) {
      const found: TraceEntry[] = []
      for (let n = Math.max(after + 1, oldest); n < next && found.length < limit; n++) {
        const entry = ring[n % capacity]
        if (!entry || (tag && entry.tag !== tag) || (direction && entry.direction !== direction)) continue
        found.push(entry)
      }
      return found
    },
    clear() {
      ring = []
      oldest = next
    },
  }
}
