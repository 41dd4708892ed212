/**
 * What must hold, whatever happens. The ledger sees everything that reaches the store and the wire, knows nothing of how
 * holders decide, and remembers the first thing that was wrong.
 */
import type { Fence, Incarnation, Resource } from '../lease.js'
import type { MemoryLeases } from './memory-leases.js'

export interface Frame {
  readonly resource: Resource
  /** Grows when credentials are deleted: another pairing, other keys. */
  readonly generation: number
  /** Of the Signal ratchet. Each may go out once. */
  readonly counter: number
}

export interface Ledger {
  readonly violation: string | undefined
  /** Frames that have reached the wire. */
  readonly frameCount: number
  violated(what: string): void
  /** The store granted a take. */
  granted(fence: Fence, holder: Incarnation): void
  /** The ratchet is saved under this fence: its next counter was `before` and is now `after`. */
  saved(fence: Fence, before: number, after: number): void
  deletedCredentials(fence: Fence): void
  sent(frame: Frame): void
}

export function createLedger(store: MemoryLeases): Ledger {
  const holders = new Map<string, Incarnation>()
  const frames = new Set<string>()
  let violation: string | undefined

  return {
    get violation() {
      return violation
    },
    get frameCount() {
      return frames.size
    },
    violated,
    granted({ resource, epoch }, holder) {
      const term = `${resource}#${epoch}`
      if (holders.has(term)) violated(`two holders of one epoch: ${term}`)
      holders.set(term, holder)
    },
    saved(fence, before, after) {
      if (after < before) violated(`the saved ratchet went back from ${before} to ${after}`)
      if (!store.isCurrent(fence)) violated(`a write of the stale epoch ${fence.epoch} was accepted`)
    },
    deletedCredentials(fence) {
      if (!store.isCurrent(fence)) violated(`the stale epoch ${fence.epoch} deleted the credentials`)
    },
    sent({ resource, generation, counter }) {
      const key = `${resource}/${generation}/${counter}`
      if (frames.has(key)) violated(`the ratchet counter ${key} was used twice on the wire`)
      frames.add(key)
    },
  }

  function violated(what: string): void {
    violation ??= what
  }
}
