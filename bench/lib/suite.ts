/** What a suite is: it measures ours and its yardsticks in turn, round by round, and reports figures per target. */
import type { Mix } from './mix.js'

export interface Figure {
  readonly id: SuiteId
  readonly target: string
  readonly round: number
  readonly metric: string
  readonly value: number
  readonly n?: number
  /** Microseconds added to each fsync in this round. */
  readonly fsyncUs: number
  /** What was sent in it; `text` in suites that send nothing. */
  readonly mix: Mix
}

export type SuiteId =
  | 'CLAIM'
  | 'P1'
  | 'P2'
  | 'P3'
  | 'P4'
  | 'P5'
  | 'P6'
  | 'P7'
  | 'P8'
  | 'P9'
  | 'P10'
  | 'P11'
  | 'P12'
  | 'P14'
  | 'REPLICAS'

export interface SuiteContext {
  readonly rounds: number
  readonly fsyncUs: number
  readonly mix: Mix
  readonly seed: number
  /** Shrinks counts and durations; 1 is the full size. */
  readonly scale: number
  report(figure: Omit<Figure, 'fsyncUs' | 'mix'>): void
  log(line: string): void
}

export interface Suite {
  readonly ids: readonly SuiteId[]
  /** Whether a slower fsync changes anything here. */
  readonly durable: boolean
  /** Whether what is sent changes anything here. */
  readonly mixes: boolean
  run(context: SuiteContext): Promise<void>
}
