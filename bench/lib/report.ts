/** From figures to verdicts and tables. */
import type { Mix } from './mix.js'
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
  readonly metric: string
  readonly fsyncUs: number
  readonly mix: Mix
  readonly value: number
  readonly bound: string
  readonly passed: boolean
}

/** The target that is us; others are yardsticks. */
export const US = 'us'

export function judge(figures: readonly Figure[], goals: Goals): Verdict[] {
  return Object.entries(goals).flatMap(([id, ofSuite]) =>
    ofSuite.flatMap((goal) => runsOf(figures, id).flatMap((run) => judgeOne(run, goal))),
  )
}

/** The gates of the suites that ran which no figure was there for: a p99 of too few samples. They have not been passed. */
export function unjudged(verdicts: readonly Verdict[], figures: readonly Figure[], goals: Goals): string[] {
  return Object.entries(goals).flatMap(([id, ofSuite]) =>
    runsOf(figures, id).flatMap(({ fsyncUs, mix }) =>
      ofSuite
        .filter(
          ({ metric }) => !verdicts.some((verdict) => isOf(verdict, { id, fsyncUs, mix }) && verdict.metric === metric),
        )
        .map(({ metric }) => `${id} ${metric}, ${mix}, fsync +${fsyncUs} µs`),
    ),
  )
}

interface Run {
  readonly id: string
  readonly fsyncUs: number
  readonly mix: Mix
}

const isOf = (one: Run, other: Run): boolean =>
  one.id === other.id && one.fsyncUs === other.fsyncUs && one.mix === other.mix

/** Figures of one suite under one delay of fsync and one mix. */
interface RunFigures extends Run {
  readonly figures: readonly Figure[]
}

function judgeOne({ figures, id, fsyncUs, mix }: RunFigures, goal: Goal): Verdict[] {
  const of = (target: string): number[] =>
    figures
      .filter((figure) => figure.metric === goal.metric && figure.target === target)
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
  return [{ id, why: what, metric: goal.metric, fsyncUs, mix, value, bound, passed }]
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
    '| | goal | mix | fsync | measured | gate | |',
    '|---|---|---|---|---|---|---|',
    ...verdicts.map(
      ({ id, why, fsyncUs, mix, value, bound, passed }) =>
        `| ${id} | ${why} | ${mix} | +${fsyncUs / 1_000} ms | ${round(value)} | ${bound} | ${passed ? 'pass' : '**miss**'} |`,
    ),
    '',
    '| | target | mix | fsync | metric | median | min | max | rounds |',
    '|---|---|---|---|---|---|---|---|---|',
    ...groups(figures).map(({ first, values }) => {
      const { id, target, mix, fsyncUs, metric } = first
      const cells = [median(values), Math.min(...values), Math.max(...values)].map(round)
      return `| ${id} | ${target} | ${mix} | +${fsyncUs / 1_000} ms | ${metric} | ${cells.join(' | ')} | ${values.length} |`
    }),
    '',
  ].join('\n')
}

function groups(figures: readonly Figure[]): { first: Figure; values: number[] }[] {
  const byKey = new Map<string, { first: Figure; values: number[] }>()
  for (const figure of figures) {
    const key = [figure.id, figure.target, figure.mix, figure.fsyncUs, figure.metric].join(' ')
    const group = byKey.get(key) ?? { first: figure, values: [] }
    group.values.push(figure.value)
    byKey.set(key, group)
  }
  return [...byKey.values()]
}

function runsOf(figures: readonly Figure[], id: string): RunFigures[] {
  const ofSuite = figures.filter((figure) => figure.id === id)
  const runs = new Map(ofSuite.map(({ fsyncUs, mix }) => [`${fsyncUs} ${mix}`, { id, fsyncUs, mix }]))
  return [...runs.values()].map((run) => ({ ...run, figures: ofSuite.filter((figure) => isOf(figure, run)) }))
}

const round = (value: number): string => (value >= 100 ? value.toFixed(0) : value.toPrecision(3))
