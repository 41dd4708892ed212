import type { ConnectionEvent } from '../whatsapp.js'

/** Tells the events of one connection in order, one at a time, and nothing after `close`. */
export interface Teller {
  tell(event: ConnectionEvent): void
  readonly isOver: boolean
}

export function createTeller(onEvent: (event: ConnectionEvent) => void): Teller {
  const waiting: ConnectionEvent[] = []
  let isTelling = false
  let isOver = false
  return {
    tell(event) {
      if (isOver) return
      isOver = event.type === 'close'
      waiting.push(event)
      // Whoever listens may act on the connection, which tells the next event from within this one.
      if (isTelling) return
      isTelling = true
      for (let next = waiting.shift(); next; next = waiting.shift()) onEvent(next)
      isTelling = false
    },
    get isOver() {
      return isOver
    },
  }
}
