/** Load generators. Open loop: latency counts from the due time, so a stall is charged to whoever stalled. */

export interface Sample {
  /** From the due time to the end, in ms. */
  readonly latencyMs: number
  readonly ok: boolean
}

/** `rate` calls a second for `count` calls, whether or not the earlier ones have ended. */
export async function openLoop(
  { rate, count }: { readonly rate: number; readonly count: number },
  call: (index: number) => Promise<boolean>,
): Promise<Sample[]> {
  const startedAt = performance.now()
  const samples: Promise<Sample>[] = []
  for (let index = 0; index < count; index++) {
    const dueAt = startedAt + (index * 1_000) / rate
    const waitMs = dueAt - performance.now()
    if (waitMs > 1) await new Promise((resolve) => setTimeout(resolve, waitMs))
    samples.push(timed(dueAt, call, index))
  }
  return Promise.all(samples)
}

/** `concurrency` callers, each with one call under way, until `count` calls or `durationMs` are over. */
export async function closedLoop(
  options: { readonly concurrency: number; readonly count?: number; readonly durationMs?: number },
  call: (index: number) => Promise<boolean>,
): Promise<{ readonly samples: Sample[]; readonly elapsedMs: number }> {
  const { concurrency, count = Number.POSITIVE_INFINITY, durationMs = Number.POSITIVE_INFINITY } = options
  const startedAt = performance.now()
  const samples: Sample[] = []
  let next = 0
  async function caller(): Promise<void> {
    while (next < count && performance.now() - startedAt < durationMs) {
      samples.push(await timed(performance.now(), call, next++))
    }
  }
  await Promise.all(Array.from({ length: concurrency }, caller))
  return { samples, elapsedMs: performance.now() - startedAt }
}

async function timed(dueAt: number, call: (index: number) => Promise<boolean>, index: number): Promise<Sample> {
  const ok = await call(index).catch(() => false)
  return { latencyMs: performance.now() - dueAt, ok }
}
