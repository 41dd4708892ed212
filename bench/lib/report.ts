/** From figures to verdicts and tables. */
import { median, pairedRatio } from './stat.js'
import type { Figure } from './suite.js'

export interface Goal {
  readonly metric: string
  /** Judge the ratio to this target's figure of the same round; absent: the figure itself. */
  readonly ratioTo?: string
  readonly min?: number
  readonly max?: number
  /** The bound when fsync is slowed. */
  readonly minWithSlowFsync?: number
  readonly why: string
}
export type Goals = Readonly<Record<string, readonly Goal[]>>

export interface Verdict {
  readonly id: string
  readonly why: string
  readonly fsyncUs: number
  readonly value: number
  readonly bound: string
  readonly passed: boolean
}

/** The target that is us; others are yardsticks. */
export const US = 'us'

export function judge(figures: readonly Figure[], goals: Goals): Verdict[] {
  return Object.entries(goals).flatMap(([id, ofSuite]) =>
    ofSuite.flatMap((goal) => fsyncsOf(figures, id).flatMap((fsyncUs) => judgeOne(figures, id, goal, fsyncUs))),
  )
}

function judgeOne(figures: readonly Figure[], id: string, goal: Goal, fsyncUs: number): Verdict[] {
  const of = (target: string): number[] =>
    figures
      .filter((figure) => figure.id === id && figure.metric === goal.metric && figure.target === target)
      .filter((figure) => figure.fsyncUs === fsyncUs)
      .toSorted((left, right) => left.round - right.round)
      .map(({ value }) => value)
  const ours = of(US)
  if (ours.length === 0) return []
  const worst = goal.max === 0 ? Math.max(...ours) : median(ours)
  const value = goal.ratioTo ? pairedRatio(ours, of(goal.ratioTo)) : worst
  const min = fsyncUs > 0 ? (goal.minWithSlowFsync ?? goal.min) : goal.min
  const passed = (min === undefined || value >= min) && (goal.max === undefined || value <= goal.max)
  const bound = min === undefined ? `≤ ${goal.max}` : `≥ ${min}`
  const what = goal.ratioTo ? `${goal.why} (× ${goal.ratioTo})` : `${goal.why} (${goal.metric})`
  return [{ id, why: what, fsyncUs, value, bound, passed }]
}

export function markdown(
  environment: Readonly<Record<string, string | number>>,
  figures: readonly Figure[],
  verdicts: readonly Verdict[],
): string {
  const about = Object.entries(environment).map(([name, value]) => `${name} ${value}`)
  return [
    about.join(' · '),
    '',
    '| | goal | fsync | measured | gate | |',
    '|---|---|---|---|---|---|',
    ...verdicts.map(
      ({ id, why, fsyncUs, value, bound, passed }) =>
        `| ${id} | ${why} | +${fsyncUs / 1_000} ms | ${round(value)} | ${bound} | ${passed ? 'pass' : '**miss**'} |`,
    ),
    '',
    '| | target | fsync | metric | median | min | max | rounds |',
    '|---|---|---|---|---|---|---|---|',
    ...groups(figures).map(({ first, values }) => {
      const { id, target, fsyncUs, metric } = first
      const cells = [median(values), Math.min(...values), Math.max(...values)].map(round)
      return `| ${id} | ${target} | +${fsyncUs / 1_000} ms | ${metric} | ${cells.join(' | ')} | ${values.length} |`
    }),
    '',
  ].join('\n')
}

function groups(figures: readonly Figure[]): { first: Figure; values: number[] }[] {
  const byKey = new Map<string, { first: Figure; values: number[] }>()
  for (const figure of figures) {
    const key = [figure.id, figure.target, figure.fsyncUs, figure.metric].join(' ')
    const group = byKey.get(key) ?? { first: figure, values: [] }
    group.values.push(figure.value)
    byKey.set(key, group)
  }
  return [...byKey.values()]
}

const fsyncsOf = (figures: readonly Figure[], id: string): number[] => [
  ...new Set(figures.filter((figure) => figure.id === id).map(({ fsyncUs }) => fsyncUs)),
]

const round = (value: number): string => (value >= 100 ? value.toFixed(0) : value.toPrecision(3))
