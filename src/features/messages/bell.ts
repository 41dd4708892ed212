/** Wakes a loop that has nothing to do. */
export interface Bell {
  wake(): void
  /** Resolves when the bell was rung since the last time, or the signal aborted. */
  rung(): Promise<void>
}

/** Remembers one ring, so that a wake-up during work is not missed. */
export function createBell(signal: AbortSignal): Bell {
  let ringing = false
  let waiter: (() => void) | undefined
  const wake = (): void => {
    ringing = true
    waiter?.()
  }
  signal.addEventListener('abort', wake, { once: true })
  return {
    wake,
    async rung() {
      if (!ringing) {
        await new Promise<void>((resolve) => {
          waiter = resolve
        })
      }
      waiter = undefined
      ringing = false
    },
  }
}
