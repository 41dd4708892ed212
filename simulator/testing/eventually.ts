const POLL_MS = 10

/** Waits until `look` returns something (not undefined, null or false). */
export async function eventually<T>(look: () => T, timeoutMs = 60_000): Promise<NonNullable<T>> {
  const end = performance.now() + timeoutMs
  for (;;) {
    const found = look()
    if (found !== undefined && found !== null && found !== false) return found as NonNullable<T>
    if (performance.now() > end) throw new Error(`still not after ${timeoutMs} ms: ${look.toString().slice(0, 200)}`)
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  }
}
