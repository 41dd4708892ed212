/** Virtual time: things happen at given milliseconds, the earliest first, and nothing happens in between. */
export interface Happening {
  at: number
  readonly order: number
  readonly run: () => void
}

export interface Timeline {
  readonly now: number
  after(ms: number, run: () => void): Happening
  cancel(happening: Happening): void
  /** Goes to the next happening and lets it happen; false when there is none. */
  step(): boolean
  /** Time passes and nothing happens in it: what was due then is late. */
  skip(ms: number): void
}

export function createTimeline(): Timeline {
  const waiting: Happening[] = []
  let now = 0
  let order = 0

  return {
    get now() {
      return now
    },
    after(ms, run) {
      const happening = { at: now + Math.max(0, ms), order: order++, run }
      waiting.push(happening)
      return happening
    },
    cancel(happening) {
      const index = waiting.indexOf(happening)
      if (index >= 0) remove(index)
    },
    step() {
      const next = remove(earliest())
      if (!next) return false
      now = Math.max(now, next.at)
      next.run()
      return true
    },
    skip(ms) {
      now += ms
    },
  }

  /** A dozen happenings wait at a time: looking at each is quicker than keeping them sorted. */
  function earliest(): number {
    let best = -1
    let bestAt = Number.POSITIVE_INFINITY
    let bestOrder = Number.POSITIVE_INFINITY
    for (let index = 0; index < waiting.length; index++) {
      const candidate = waiting[index] as Happening
      if (candidate.at > bestAt || (candidate.at === bestAt && candidate.order > bestOrder)) continue
      best = index
      bestAt = candidate.at
      bestOrder = candidate.order
    }
    return best
  }

  function remove(index: number): Happening | undefined {
    const removed = waiting[index]
    const last = waiting.pop()
    if (removed && last && removed !== last) waiting[index] = last
    return removed
  }
}
