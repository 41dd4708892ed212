/** Spreads the connections that a process begins when it starts, so that a thousand numbers do not log in at once. */
import type { Clock } from '../../kernel/clock.js'
import type { Random } from '../../kernel/random.js'

export interface StartGateOptions {
  readonly clock: Clock
  readonly random: Random
  /** Connections that may be beginning at once. */
  readonly concurrency: number
  /** At least this between two starts; seed 001 asked for 2,000. */
  readonly staggerMs: number
  /** Of the first ones, each that is not alone waits a random part of this on top; who waited for a place is late enough. */
  readonly jitterMs: number
  /** A connection that has not begun after this no longer keeps others waiting. */
  readonly patienceMs: number
}

export interface StartGate {
  /** Resolves when its turn has come (or the signal aborted), to what is to be called when the connection has begun. */
  enter(signal: AbortSignal): Promise<() => void>
}

export function createStartGate(options: StartGateOptions): StartGate {
  const { clock, random, concurrency, staggerMs, jitterMs, patienceMs } = options
  const waiting: (() => void)[] = []
  let beginning = 0
  let nextStartAt = 0

  return {
    async enter(signal) {
      const waited = await seat(signal)
      const leave = once(() => {
        beginning -= 1
        waiting.shift()?.()
      })
      if (signal.aborted) {
        leave()
        return leave
      }
      const startAt = Math.max(clock.mono(), nextStartAt)
      nextStartAt = startAt + staggerMs
      const jitter = beginning > 1 && !waited ? random() * jitterMs : 0
      await clock.sleep(startAt - clock.mono() + jitter, signal).catch(() => {})
      void clock.sleep(patienceMs, signal).then(leave, leave)
      return leave
    },
  }

  /** Takes one of the places; an aborted one takes it too, and gives it back at once. Resolves to whether it had to wait. */
  async function seat(signal: AbortSignal): Promise<boolean> {
    const isFull = beginning >= concurrency
    if (isFull) {
      await new Promise<void>((resolve) => {
        waiting.push(resolve)
        signal.addEventListener('abort', () => withdraw(resolve), { once: true })
      })
    }
    beginning += 1
    return isFull
  }

  function withdraw(resolve: () => void): void {
    const index = waiting.indexOf(resolve)
    if (index >= 0) waiting.splice(index, 1)
    resolve()
  }
}

function once(work: () => void): () => void {
  let done = false
  return () => {
    if (done) return
    done = true
    work()
  }
}
