import type { Clock } from '../../../kernel/clock.js'

const EVERY_MS = 1_000

/** Passes a beat on, at most once a second. */
export function createPulse(clock: Clock, onBeat: () => void): () => void {
  let beatAt = Number.NEGATIVE_INFINITY
  return () => {
    const now = clock.mono()
    if (now - beatAt < EVERY_MS) return
    beatAt = now
    onBeat()
  }
}
