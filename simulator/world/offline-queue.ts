import { type BinaryNode, el } from '../wire/node-codec.js'

/** What became of one stanza on its way to one companion; shared with whoever sent it. */
export type Delivery = {
  node: BinaryNode
  /** How often the server has put these very bytes on a socket. */
  attempts: number
  queuedAt: number
  confirmedAt: number | null
  /** The error code when the client refused it instead of giving a receipt. */
  nack: string | null
}

export type OfflineQueue = {
  readonly size: number
  add(node: BinaryNode, at: number): Delivery
  /** The client gave a receipt: every waiting copy of this message is done. */
  confirmMessage(id: string, at: number): Delivery[]
  /** The client acknowledged one stanza; a re-sent copy with the same id keeps waiting for its own. */
  confirmOldest(tag: string, id: string, at: number, nack: string | null): Delivery | null
  pending(): Delivery[]
  clear(): void
}

/** Stanzas a companion has not confirmed, in the order of their arrival. They survive its connections. */
export function createOfflineQueue(): OfflineQueue {
  const waiting = new Set<Delivery>()
  const byKey = new Map<string, Delivery[]>()

  const settle = (delivery: Delivery, at: number, nack: string | null) => {
    delivery.confirmedAt = at
    delivery.nack = nack
    waiting.delete(delivery)
    // The ciphertext is not needed any more, and a benchmark leaves a hundred thousand of these behind.
    delivery.node = el(delivery.node.tag, delivery.node.attrs)
    return delivery
  }
  return {
    get size() {
      return waiting.size
    },
    add(node, at) {
      const delivery: Delivery = { node, attempts: 0, queuedAt: at, confirmedAt: null, nack: null }
      const key = keyOf(node.tag, node.attrs.id)
      const sameKey = byKey.get(key)
      if (sameKey) sameKey.push(delivery)
      else byKey.set(key, [delivery])
      waiting.add(delivery)
      return delivery
    },
    confirmMessage(id, at) {
      const key = keyOf('message', id)
      const found = byKey.get(key) ?? []
      byKey.delete(key)
      return found.map((delivery) => settle(delivery, at, null))
    },
    confirmOldest(tag, id, at, nack) {
      const key = keyOf(tag, id)
      const found = byKey.get(key)
      const oldest = found?.shift()
      if (found?.length === 0) byKey.delete(key)
      return oldest ? settle(oldest, at, nack) : null
    },
    pending: () => [...waiting],
    clear() {
      waiting.clear()
      byKey.clear()
    },
  }
}

/** A redelivery is the same stanza, same ciphertext bytes, marked as held back. */
export function asOffline(node: BinaryNode): BinaryNode {
  return el(node.tag, { ...node.attrs, offline: '0' }, node.content)
}

export function isQueued(node: BinaryNode): boolean {
  return ['message', 'receipt', 'notification', 'call'].includes(node.tag)
}

function keyOf(tag: string, id: string | undefined): string {
  return `${tag} ${id ?? ''}`
}
