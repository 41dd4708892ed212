/** Barks once when nothing has happened for a while. Baileys can connect for ever (fault S4); this ends it. */
export interface Watchdog {
  /** Something happened: the time starts anew. */
  touch(): void
  stop(): void
}

export function startWatchdog(silenceMs: number, bark: () => void): Watchdog {
  const timer = setTimeout(bark, silenceMs)
  let isStopped = false
  return {
    touch() {
      // Refreshing a timer that was cleared would start it again.
      if (!isStopped) timer.refresh()
    },
    stop() {
      isStopped = true
      clearTimeout(timer)
    },
  }
}
