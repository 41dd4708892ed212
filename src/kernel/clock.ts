import { setTimeout as delay } from 'node:timers/promises'

/** Time as an argument, so that tests can own it. */
export interface Clock {
  /** Wall clock in milliseconds since 1970; for people and for rows, never for deciding who holds what. */
  now(): number
  /** Monotonic milliseconds; the only time that leases are measured with. It stops while a machine is suspended. */
  mono(): number
  /** Resolves after `ms`; rejects with the signal's reason when aborted first. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>
}

export const systemClock: Clock = {
  now: () => Date.now(),
  mono: () => performance.now(),
  sleep: (ms, signal) => delay(ms, undefined, signal ? { signal } : {}),
}
