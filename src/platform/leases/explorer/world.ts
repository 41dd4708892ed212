/**
 * Three machines, one PostgreSQL, one WhatsApp, and everything that goes wrong between them, from one seed. A run is a storm
 * of faults, then calm. In the storm nothing unsafe may happen; in the calm somebody must hold and serve each resource soon.
 */
import { seededRandom } from '../../../kernel/random.js'
import type { LeaseTerms, Resource } from '../lease.js'
import { disturb, isHolder, type Storm } from './faults.js'
import { createMachine } from './machine.js'
import type { Mutant } from './model-session.js'
import { createModelStorage } from './model-storage.js'
import { createModelWire } from './model-wire.js'
import { createTimeline } from './timeline.js'

export interface WorldOptions {
  readonly seed: number
  readonly terms?: LeaseTerms
  readonly mutant?: Mutant | undefined
  /** Gets one line for each thing that happens. */
  readonly trace?: ((line: string) => void) | undefined
}

export interface World {
  /** One happening or one fault; what it sets off inside the processes runs in the microtasks after it. */
  step(): void
  /** What the run has shown; undefined while it goes on. */
  verdict(): Verdict | undefined
}

export interface Verdict {
  readonly violation: string | undefined
}

/**
 * The proportions of the product, with fewer polls and renewals per TTL: the steps of a schedule should go to what can go
 * wrong, and a TTL must fit into a storm.
 */
export const explorerTerms: LeaseTerms = {
  ttlMs: 45_000,
  renewEveryMs: 20_000,
  renewTimeoutMs: 4_000,
  trustMs: 30_000,
  marginMs: 5_000,
  pollEveryMs: 14_000,
  pollJitterMs: 2_000,
  pollTimeoutMs: 5_000,
  goneMs: 6_000,
  maxLagMs: 15_000,
}

const MACHINES = ['a', 'b', 'c']
const RESOURCES = ['one', 'two'] as Resource[]
const BOOT_WITHIN_MS = 2_000
const DISTURB_PROBABILITY = 0.35
/** A TTL, the polls around it, and what was slow when the calm began. */
const CALM_LIMIT_MS = 150_000
/** Many times what any schedule needs. */
const STEP_LIMIT = 20_000

export function createWorld({ seed, terms = explorerTerms, mutant, trace }: WorldOptions): World {
  const random = seededRandom(seed)
  const timeline = createTimeline()
  const storage = createModelStorage()
  const wire = createModelWire(storage)
  const resources = RESOURCES.slice(0, random() < 0.75 ? 1 : 2)
  const log = trace && ((line: string) => trace(`${Math.round(timeline.now)} ms: ${line}`))
  const surroundings = {
    timeline,
    random,
    terms,
    storage,
    wire,
    resources,
    advisoryLocks: random() < 0.8,
    hinted: random() < 0.5,
    mutant,
    trace: log,
  }
  const machines = MACHINES.map((name) => createMachine(name, surroundings))
  let marginsHold = true
  const storm: Storm = {
    timeline,
    random,
    machines,
    trace: log,
    breakMargins() {
      marginsHold = false
    },
  }
  let stormSteps = 20 + Math.floor(random() * 50)
  /** In most worlds the storm begins when there is something to lose. */
  let begun = random() < 0.2
  let calmSince: number | undefined
  let stepCount = 0

  for (const machine of machines) timeline.after(random() * BOOT_WITHIN_MS, machine.boot)

  return {
    step() {
      if (++stepCount > STEP_LIMIT) storage.ledger.violated('something happens over and over')
      if (!begun) begun = machines.some(isHolder)
      else if (calmSince === undefined) {
        if (stormSteps-- <= 0) return calmDown()
        if (random() < DISTURB_PROBABILITY) return disturb(storm)
      }
      timeline.step()
      if (calmSince !== undefined) serve()
    },
    verdict() {
      checkTrust()
      const { violation } = storage.ledger
      if (violation !== undefined) return { violation }
      return wire.served.size === resources.length && calmSince !== undefined ? { violation: undefined } : undefined
    },
  }

  function calmDown(): void {
    log?.('calm')
    calmSince = timeline.now
    wire.forget()
    for (const machine of machines) {
      Object.assign(machine.conditions, { cutOff: false, slow: false, calm: true })
      machine.life?.process.thaw()
      machine.regainLock()
      machine.boot()
    }
  }

  function serve(): void {
    for (const { life } of machines) for (const session of life?.sessions.values() ?? []) void session.send()
    if (timeline.now - (calmSince ?? 0) > CALM_LIMIT_MS)
      storage.ledger.violated(`nobody serves ${CALM_LIMIT_MS} ms after the storm`)
  }

  /** While clocks and locks tell the truth, the margins alone keep two processes from trusting themselves at once. */
  function checkTrust(): void {
    if (!marginsHold) return
    for (const resource of resources) {
      const trusting = machines.filter(({ life }) => life?.keeper.held(resource)?.isTrusted())
      if (trusting.length > 1) storage.ledger.violated(`${trusting.length} processes trust their lease of ${resource}`)
    }
  }
}
