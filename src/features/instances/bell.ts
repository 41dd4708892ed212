import type { Clock } from '../../kernel/clock.js'

/** What a loop sleeps on. One ring is remembered, so that a wake-up during work is not missed. */
export interface Bell {
  ring(): void
  /** Resolves when the bell was rung since the last time, or after `ms`. */
  rung(ms?: number): Promise<void>
}

export function createBell(clock: Clock): Bell {
  let ringing = false
  let sleeper: AbortController | undefined
  return {
    ring() {
      ringing = true
      sleeper?.abort()
    },
    async rung(ms) {
      if (!ringing) {
        sleeper = new AbortController()
        await asleep(clock, sleeper.signal, ms)
        sleeper = undefined
      }
      ringing = false
    },
  }
}

function asleep(clock: Clock, signal: AbortSignal, ms: number | undefined): Promise<void> {
  if (ms !== undefined) return clock.sleep(ms, signal).catch(() => {})
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
}
