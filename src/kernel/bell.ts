/** What a loop sleeps on. One ring is remembered, so that a wake-up during work is not missed. */
export interface Bell {
  ring(): void
  /**
   * Resolves when the bell was rung since the last time.
   *
   * @param or or when this is over, however it ends; it is aborted when the bell rings
   */
  rung(or?: (stop: AbortSignal) => Promise<unknown>): Promise<void>
}

/** @param signal rings it when it is aborted */
export function createBell(signal?: AbortSignal): Bell {
  let ringing = signal?.aborted === true
  let sleeper: AbortController | undefined
  const ring = (): void => {
    ringing = true
    sleeper?.abort()
  }
  signal?.addEventListener('abort', ring, { once: true })
  return {
    ring,
    async rung(or = aborted) {
      if (!ringing) {
        sleeper = new AbortController()
        await or(sleeper.signal).catch(() => {})
        sleeper = undefined
      }
      ringing = false
    },
  }
}

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
