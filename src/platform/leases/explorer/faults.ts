/** What may go wrong in a storm, and how often. */
import type { Random } from '../../../kernel/random.js'
import type { Machine } from './machine.js'
import { logUniform } from './model-process.js'
import type { Timeline } from './timeline.js'

export interface Storm {
  readonly timeline: Timeline
  readonly random: Random
  readonly machines: readonly Machine[]
  readonly trace: ((line: string) => void) | undefined
  /** From now on two processes may trust themselves at once: their clocks or their locks have lied. The fence must hold. */
  breakMargins(): void
}

type Fault = (storm: Storm, machine: Machine) => void

const DAY_MS = 86_400_000
const HOLDER_PROBABILITY = 0.6
const SEND = 'is asked to send'

const faults: readonly (readonly [weight: number, name: string, fault: Fault])[] = [
  [
    50,
    SEND,
    (_storm, { life }) => {
      for (const session of life?.sessions.values() ?? []) void session.send()
    },
  ],
  [
    14,
    'freezes',
    ({ timeline, random }, { life }) => {
      if (life?.process.state !== 'running') return
      life.process.freeze()
      timeline.after(shortOrLong(random), () => life.process.thaw())
    },
  ],
  [
    3,
    'is suspended',
    ({ timeline, random, breakMargins }, { life }) => {
      if (life?.process.state !== 'running') return
      const ms = shortOrLong(random)
      breakMargins()
      life.process.suspend(ms)
      timeline.after(ms, () => life.process.thaw())
    },
  ],
  [
    6,
    'is killed',
    ({ timeline, random }, machine) => {
      if (!machine.life) return
      machine.kill()
      timeline.after(logUniform(random, 100, 60_000), machine.boot)
    },
  ],
  [4, 'restarts', (_storm, machine) => void (machine.life?.process.state === 'running' && machine.restart())],
  [
    8,
    'is cut off from PostgreSQL',
    ({ timeline, random }, { conditions }) => {
      conditions.cutOff = true
      timeline.after(shortOrLong(random), () => {
        conditions.cutOff = false
      })
    },
  ],
  [
    5,
    'has a slow network',
    ({ timeline, random }, { conditions }) => {
      conditions.slow = true
      timeline.after(logUniform(random, 1_000, 60_000), () => {
        conditions.slow = false
      })
    },
  ],
  [
    8,
    'loses its advisory lock',
    ({ timeline, random, breakMargins }, machine) => {
      breakMargins()
      machine.loseLock()
      timeline.after(logUniform(random, 100, 60_000), () => machine.regainLock())
    },
  ],
  [
    3,
    'has its wall clock set',
    ({ random }, { conditions }) => {
      conditions.wallOffsetMs = (random() - 0.5) * 20 * DAY_MS
    },
  ],
  [
    2,
    'hears that it is logged out',
    (_storm, { life }) => {
      for (const session of life?.sessions.values() ?? []) void session.loggedOut()
    },
  ],
  [8, 'is poked', (_storm, { life }) => life?.process.state === 'running' && life.keeper.poke()],
]

const TOTAL_WEIGHT = faults.reduce((sum, [weight]) => sum + weight, 0)

/** One fault, at one machine, now: more often one that holds something. */
export function disturb(storm: Storm): void {
  const { random, machines, trace } = storm
  const holders = machines.filter(isHolder)
  const [name, fault] = pickFault(random)
  const targets = holders.length > 0 && (name === SEND || random() < HOLDER_PROBABILITY) ? holders : machines
  const machine = targets[Math.floor(random() * targets.length)]
  if (!machine) return
  trace?.(`${machine.name} ${name}`)
  fault(storm, machine)
}

export function isHolder({ life }: Machine): boolean {
  return life !== undefined && life.sessions.size > 0
}

function pickFault(random: Random): readonly [name: string, fault: Fault] {
  let left = random() * TOTAL_WEIGHT
  for (const [weight, name, fault] of faults) {
    left -= weight
    if (left < 0) return [name, fault]
  }
  return ['nothing happens', () => {}]
}

/** Within what the protocol forgives, or long enough for others to take over. */
function shortOrLong(random: Random): number {
  return random() < 0.5 ? logUniform(random, 20, 5_000) : 20_000 + 70_000 * random()
}
