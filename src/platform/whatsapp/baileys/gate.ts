/**
 * The gate between Baileys and the wire: bytes wait here until everything that was journaled before them is durable, and then
 * leave in the order in which they came (noise frames are numbered: nothing may overtake).
 *
 * Baileys is answered at once, so that its per-number lock is not held during a commit and many messages share one; only when
 * more than a few megabytes wait is it made to wait as well. With nothing journaled since the last flush, bytes pass directly.
 *
 * What cannot become durable never leaves: the gate shuts, drops what it holds and reports why. The limit of time is the
 * journal's (`whenDurable` rejects after 5 s), and it runs from the first byte that waits.
 */
import type { Journal } from '../whatsapp.js'
import { JournalError } from '../whatsapp.js'

export interface Wire {
  readonly isOpen: () => boolean
  readonly bufferedBytes: () => number
  readonly write: (bytes: Uint8Array, done: (error?: Error) => void) => void
}

export interface GateOptions {
  readonly journal: Journal
  readonly wire: Wire
  readonly onFailure: (reason: JournalError['reason']) => void
  /** For crash points: called around the writing of a frame that was announced with this label. */
  readonly onLabelled?: (label: string, moment: 'before' | 'after') => void
}

export interface Gate {
  /** Takes a frame, like `WebSocket.send`. */
  send(bytes: Uint8Array, done?: (error?: Error) => void): void
  /** Does something in the same order as the frames, when everything journaled so far is durable. */
  afterDurable(action: () => void): void
  /** Names the next frame. */
  label(label: string): void
  /** Resolves when nothing is held any more, also because the gate has shut. */
  drained(): Promise<void>
  /** Drops what is held; from now on nothing leaves. */
  shut(): void
  /** Frames taken since the beginning, and frames that may have left: what was taken after them surely has not. */
  readonly takenCount: number
  readonly writtenCount: number
}

/** Above this many bytes on the way, Baileys is answered only when its frame has left the process. */
const HIGH_WATER_BYTES = 4 * 1024 * 1024

interface Held {
  readonly position: number
  readonly byteCount: number
  readonly release: () => void
  /** Answers whoever waits for these bytes, when they are dropped. */
  readonly drop?: (error: Error) => void
}

export function createGate({ journal, wire, onFailure, onLabelled }: GateOptions): Gate {
  const held: Held[] = []
  let heldBytes = 0
  let waiting = false
  let isShut = false
  let takenCount = 0
  let writtenCount = 0
  let nextLabel: string | undefined
  let drainWaiters: (() => void)[] = []

  function hold(item: Omit<Held, 'position'>): void {
    const position = journal.tail
    if (held.length === 0 && journal.durable >= position) {
      item.release()
      return
    }
    held.push({ ...item, position })
    heldBytes += item.byteCount
    if (!waiting) void releaseInOrder()
  }

  async function releaseInOrder(): Promise<void> {
    waiting = true
    for (let head = held[0]; head && !isShut; head = held[0]) {
      try {
        await journal.whenDurable(head.position)
      } catch (error) {
        return fail(error)
      }
      releaseUpTo(Math.max(head.position, journal.durable))
    }
    waiting = false
    if (!isShut) settleDrained()
  }

  function releaseUpTo(position: number): void {
    let count = 0
    for (let head = held[count]; head && head.position <= position && !isShut; head = held[count]) {
      count += 1
      heldBytes -= head.byteCount
      head.release()
    }
    held.splice(0, count)
  }

  function fail(error: unknown): void {
    if (isShut) return
    shut()
    onFailure(error instanceof JournalError ? error.reason : 'NOT_DURABLE')
  }

  function shut(): void {
    isShut = true
    heldBytes = 0
    for (const { drop } of held.splice(0)) drop?.(new Error('the gate is shut'))
    settleDrained()
  }

  function settleDrained(): void {
    const waiters = drainWaiters
    drainWaiters = []
    for (const resolve of waiters) resolve()
  }

  function write(bytes: Uint8Array, label: string | undefined, done: (error?: Error) => void): void {
    if (!wire.isOpen()) {
      done(new Error('the socket is closed'))
      return
    }
    if (label) onLabelled?.(label, 'before')
    writtenCount += 1
    wire.write(bytes, done)
    if (label) onLabelled?.(label, 'after')
  }

  return {
    send(bytes, done = () => {}) {
      if (isShut) return done(new Error('the gate is shut'))
      const label = nextLabel
      nextLabel = undefined
      takenCount += 1
      const isCalm = heldBytes + wire.bufferedBytes() < HIGH_WATER_BYTES
      if (isCalm) {
        hold({ byteCount: bytes.length, release: () => write(bytes, label, () => {}) })
        done()
        return
      }
      hold({ byteCount: bytes.length, release: () => write(bytes, label, done), drop: done })
    },
    afterDurable(action) {
      if (!isShut) hold({ byteCount: 0, release: action })
    },
    label(label) {
      nextLabel = label
    },
    drained: () =>
      held.length === 0 || isShut ? Promise.resolve() : new Promise((resolve) => drainWaiters.push(resolve)),
    shut,
    get takenCount() {
      return takenCount
    },
    get writtenCount() {
      return writtenCount
    },
  }
}
