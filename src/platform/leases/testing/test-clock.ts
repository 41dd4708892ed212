/** A clock that only moves when the test says so. */
import { setImmediate as macrotask } from 'node:timers/promises'
import type { Clock } from '../../../kernel/clock.js'
import { createTimeline } from '../explorer/timeline.js'

export interface TestClock extends Clock {
  /** Lets time pass: everything that is due happens in its order, and what follows from it at once. */
  pass(ms: number): Promise<void>
  /** The process stands still: time passes, what was due happens late. */
  stall(ms: number): Promise<void>
}

const EPOCH_MS = 1_700_000_000_000

export function createTestClock(): TestClock {
  const timeline = createTimeline()
  return {
    now: () => EPOCH_MS + timeline.now,
    mono: () => timeline.now,
    sleep: (ms, signal) =>
      new Promise((resolve, reject) => {
        if (signal?.aborted) return reject(signal.reason)
        const timer = timeline.after(ms, resolve)
        signal?.addEventListener('abort', () => {
          timeline.cancel(timer)
          reject(signal.reason)
        })
      }),
    pass,
    async stall(ms) {
      timeline.skip(ms)
      await pass(0)
    },
  }

  async function pass(ms: number): Promise<void> {
    let over = false
    await macrotask()
    timeline.after(ms, () => {
      over = true
    })
    while (!over) {
      timeline.step()
      await macrotask()
    }
  }
}
