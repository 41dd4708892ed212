/** Summaries of samples. A p99 of fewer than 1,000 samples is refused: it would be an anecdote. */

export interface Summary {
  readonly n: number
  readonly min: number
  readonly p50: number
  readonly p95: number
  /** Null when there are fewer than 1,000 samples. */
  readonly p99: number | null
  readonly max: number
}

export function summarize(samples: readonly number[]): Summary {
  const sorted = samples.toSorted((left, right) => left - right)
  return {
    n: sorted.length,
    min: at(sorted, 0),
    p50: at(sorted, 0.5),
    p95: at(sorted, 0.95),
    p99: sorted.length >= LEAST_FOR_P99 ? at(sorted, 0.99) : null,
    max: at(sorted, 1),
  }
}

/** Below this a p99 is an anecdote. */
const LEAST_FOR_P99 = 1_000

/** A round's count: the usual one, or more where there are few rounds, so that all rounds make enough for a p99. */
export const atLeastInAll = (count: number, rounds: number): number =>
  Math.max(count, Math.ceil(LEAST_FOR_P99 / rounds))

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((left, right) => left - right)
  const middle = (sorted.length - 1) / 2
  return ((sorted[Math.floor(middle)] ?? Number.NaN) + (sorted[Math.ceil(middle)] ?? Number.NaN)) / 2
}

/** Ratios pair by pair, then their median: what drifts in the machine drifts in both halves of a pair. */
export const pairedRatio = (ours: readonly number[], theirs: readonly number[]): number =>
  median(ours.map((value, index) => value / (theirs[index] ?? Number.NaN)))

/** Least squares: what one more of x adds to y. */
export function slope(points: readonly (readonly [x: number, y: number])[]): number {
  const mean = (pick: 0 | 1): number => points.reduce((sum, point) => sum + point[pick], 0) / points.length
  const [meanX, meanY] = [mean(0), mean(1)]
  const covariance = points.reduce((sum, [x, y]) => sum + (x - meanX) * (y - meanY), 0)
  return covariance / points.reduce((sum, [x]) => sum + (x - meanX) ** 2, 0)
}

function at(sorted: readonly number[], quantile: number): number {
  if (sorted.length === 0) return Number.NaN
  return sorted[Math.min(sorted.length - 1, Math.floor(quantile * sorted.length))] ?? Number.NaN
}
