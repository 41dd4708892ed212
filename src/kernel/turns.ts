/** Lets so much work run at a time, in the order in which it came. */
export interface Turns {
  take<Result>(work: () => Promise<Result>): Promise<Result>
}

/** @param most at once */
export function createTurns(most = 1): Turns {
  const waiting: (() => void)[] = []
  let busy = 0
  return {
    async take(work) {
      if (busy >= most) await new Promise<void>((resolve) => waiting.push(resolve))
      else busy += 1
      try {
        return await work()
      } finally {
        // Whoever is next has this one's place.
        const next = waiting.shift()
        if (next) next()
        else busy -= 1
      }
    },
  }
}
