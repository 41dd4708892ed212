/** Forgets entries whose time (monotonic ms) is over. The map must be in the order in which they expire. */
export function forgetExpired(until: Map<string, number>, nowMs: number): void {
  for (const [key, untilMs] of until) {
    if (untilMs > nowMs) return
    until.delete(key)
  }
}
