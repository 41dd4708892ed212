/**
 * The schedule explorer (goal G2): runs the real lease rules and the real keeper through many random schedules of faults, and
 * stops at the first that breaks a promise. One seed, one outcome: a failing schedule is repeated from its printed seed.
 */
import { setImmediate as macrotask } from 'node:timers/promises'
import type { LeaseTerms } from '../lease.js'
import type { Mutant } from './model-session.js'
import { createWorld, type World } from './world.js'

export interface ExploreOptions {
  readonly schedules: number
  readonly seed: number
  /** The first schedule of this seed to run: workers share a seed's schedules. Default: 0. */
  readonly first?: number
  /** Breaks one rule: the exploration must then find a violation. */
  readonly mutant?: Mutant | undefined
  readonly terms?: LeaseTerms
}

export interface Exploration {
  /** Schedules that were run to their end, the violating one included. */
  readonly explored: number
  readonly violation: Violation | undefined
}

export interface Violation {
  /** Of the one schedule; see `replay`. */
  readonly scheduleSeed: number
  readonly what: string
  /** Everything that happened in that schedule, in order. */
  readonly trace: readonly string[]
}

/** Worlds that advance in turn: what runs between two steps of one is a turn of the event loop, which they share. */
const WORLDS_AT_ONCE = 8

export async function explore({ schedules, seed, first = 0, ...options }: ExploreOptions): Promise<Exploration> {
  const running = new Map<number, World>()
  let begun = 0
  let explored = 0
  for (;;) {
    while (running.size < WORLDS_AT_ONCE && begun < schedules) {
      const scheduleSeed = scheduleSeedOf(seed, first + begun++)
      running.set(scheduleSeed, createWorld({ ...options, seed: scheduleSeed }))
    }
    if (running.size === 0) return { explored, violation: undefined }
    for (const world of running.values()) world.step()
    await macrotask()
    for (const [scheduleSeed, world] of running) {
      const verdict = world.verdict()
      if (!verdict) continue
      explored += 1
      running.delete(scheduleSeed)
      if (verdict.violation === undefined) continue
      const again = await replay(scheduleSeed, options)
      // A schedule that does not repeat would be a fault of the explorer; it must not pass for one that held.
      return {
        explored,
        violation: again ?? { scheduleSeed, what: `${verdict.violation} (not repeatable)`, trace: [] },
      }
    }
  }
}

/** Runs one schedule to its end; undefined when it holds. */
export async function replay(
  scheduleSeed: number,
  options: Pick<ExploreOptions, 'mutant' | 'terms'> = {},
): Promise<Violation | undefined> {
  const trace: string[] = []
  const world = createWorld({ ...options, seed: scheduleSeed, trace: (line) => trace.push(line) })
  for (;;) {
    world.step()
    await macrotask()
    const verdict = world.verdict()
    if (!verdict) continue
    return verdict.violation === undefined ? undefined : { scheduleSeed, what: verdict.violation, trace }
  }
}

function scheduleSeedOf(seed: number, index: number): number {
  return (Math.imul(seed, 0x9e3779b1) + index) >>> 0
}
