/** What somebody probably meant who wrote a word that there is not. Pure. */

/** The candidate that is nearest to the word; undefined when none is near enough to be a slip of the fingers. */
export function closest(word: string, candidates: readonly string[]): string | undefined {
  const near = candidates
    .map((candidate) => ({ candidate, distance: distanceOf(word.toLowerCase(), candidate.toLowerCase()) }))
    .filter(({ candidate, distance }) => distance <= Math.max(1, Math.floor(candidate.length / 3)))
    .toSorted((left, right) => left.distance - right.distance)
  return near[0]?.candidate ?? beginningWith(word.toLowerCase(), candidates)
}

/** ` Did you mean X?`, or nothing. */
export function didYouMean(word: string, candidates: readonly string[]): string {
  const meant = closest(word, candidates)
  return meant === undefined ? '' : ` Did you mean ${meant}?`
}

/** An abbreviation that only one candidate fits. */
function beginningWith(word: string, candidates: readonly string[]): string | undefined {
  const fitting = word.length >= 2 ? candidates.filter((candidate) => candidate.toLowerCase().startsWith(word)) : []
  return fitting.length === 1 ? fitting[0] : undefined
}

/** Insertions, deletions, replacements and swaps of neighbours that make one of the other. */
function distanceOf(left: string, right: string): number {
  let beforeLast: number[] = []
  let last = Array.from({ length: right.length + 1 }, (_, column) => column)
  for (let row = 1; row <= left.length; row++) {
    const current = [row]
    for (let column = 1; column <= right.length; column++) {
      const replaced = (last[column - 1] ?? 0) + (left[row - 1] === right[column - 1] ? 0 : 1)
      const isSwap = left[row - 1] === right[column - 2] && left[row - 2] === right[column - 1]
      const swapped = isSwap && row > 1 && column > 1 ? (beforeLast[column - 2] ?? 0) + 1 : Number.POSITIVE_INFINITY
      current.push(Math.min(replaced, swapped, (last[column] ?? 0) + 1, (current[column - 1] ?? 0) + 1))
    }
    beforeLast = last
    last = current
  }
  return last[right.length] ?? 0
}
