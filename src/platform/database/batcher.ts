/**
 * Natural batching: what arrives while a flush is under way goes together into the next one. No timer: at low load an item
 * waits for nothing, under load a flush carries many. (A collecting timer was measured to help never and to cost ×4 at low
 * load.)
 */
export interface BatcherOptions<Item, Result> {
  /** Must return one result per item, in order. A throw rejects every item of the batch. */
  readonly flush: (items: readonly Item[]) => Promise<readonly Result[]>
  readonly maxItems: number
  /** Flushes under way at once; a second one starts only when `secondAbove` items wait. Default: one. */
  readonly secondAbove?: number
}

export interface Batcher<Item, Result> {
  add(item: Item): Promise<Result>
  /** Items waiting, not counting those being flushed. */
  readonly waiting: number
  /** Resolves when nothing waits and nothing is being flushed. */
  idle(): Promise<void>
}

interface Entry<Item, Result> {
  readonly item: Item
  readonly resolve: (result: Result) => void
  readonly reject: (error: unknown) => void
}

export function createBatcher<Item, Result>(options: BatcherOptions<Item, Result>): Batcher<Item, Result> {
  const { flush, maxItems, secondAbove = Number.POSITIVE_INFINITY } = options
  const queue: Entry<Item, Result>[] = []
  const idleWaiters: (() => void)[] = []
  let inFlight = 0
  let scheduled = false

  return {
    add(item) {
      return new Promise<Result>((resolve, reject) => {
        queue.push({ item, resolve, reject })
        schedule()
      })
    },
    get waiting() {
      return queue.length
    },
    idle() {
      return new Promise<void>((resolve) => {
        idleWaiters.push(resolve)
        settleIdle()
      })
    },
  }

  function schedule(): void {
    if (scheduled) return
    scheduled = true
    // After the callbacks of this turn of the loop, so that requests that arrived together travel together.
    setImmediate(() => {
      scheduled = false
      startFlushes()
    })
  }

  function startFlushes(): void {
    while (queue.length > 0 && (inFlight === 0 || (inFlight === 1 && queue.length > secondAbove))) {
      void runFlush(queue.splice(0, maxItems))
    }
    settleIdle()
  }

  async function runFlush(entries: Entry<Item, Result>[]): Promise<void> {
    inFlight += 1
    try {
      const results = await flush(entries.map(({ item }) => item))
      entries.forEach(({ resolve, reject }, index) => {
        const result = results[index]
        if (index < results.length) resolve(result as Result)
        else reject(new Error('a flush returned fewer results than items'))
      })
    } catch (error) {
      for (const { reject } of entries) reject(error)
    } finally {
      inFlight -= 1
      startFlushes()
    }
  }

  function settleIdle(): void {
    if (queue.length > 0 || inFlight > 0) return
    for (const resolve of idleWaiters.splice(0)) resolve()
  }
}
