/** Waits for a condition by looking again and again: for things that tell nobody when they happen. */
export async function eventually(
  condition: () => Promise<boolean> | boolean,
  what: string,
  timeoutMs = 120_000,
): Promise<void> {
  const deadline = performance.now() + timeoutMs
  let lastError: unknown
  while (performance.now() < deadline) {
    try {
      if (await condition()) return
    } catch (error) {
      lastError = error
    }
    await new Promise((resolve) => setTimeout(resolve, 25))
  }
  const reason = lastError instanceof Error ? ` (${lastError.message})` : ''
  throw new Error(`waited ${timeoutMs} ms in vain: ${what}${reason}`, { cause: lastError })
}
