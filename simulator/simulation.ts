import { createFaults, type Faults } from './faults/rules.js'
import { createMediaStore, type MediaStore } from './media/media-store.js'
import type { PastMessage } from './phone/history.js'
import type { Call } from './router/calls.js'
import type { Connection } from './wire/connection.js'
import { createPki, type Pki } from './wire/pki.js'
import { createStanzaTrace, type StanzaTrace } from './wire/stanza-trace.js'
import { type AppState, createAppState } from './world/app-state.js'
import { createSeeded, type Seeded } from './world/seeded.js'
import { type Companion, createWorld, type Person, type World } from './world/world.js'

export type SimulationOptions = {
  readonly seed: number
  readonly latencyMs: number
  /** Milliseconds since the epoch, decimals welcome. */
  readonly clock: () => number
  readonly initialSync: boolean
  readonly decrypt: DecryptMode
  readonly strict: boolean
  readonly traceLimit: number
  /** Id or subject of a group that contains every client. */
  readonly testGroup: string | null
}

/** Which phones really decrypt: everybody, only the people written to (not the owner's copy), or nobody. */
export type DecryptMode = 'all' | 'contacts' | 'none'

export type UnknownQuestion = { readonly xmlns: string; readonly type: string; readonly child: string }

export type Stats = {
  connections: number
  logins: number
  pairings: number
  messagesReceived: number
  distinctMessages: number
  repeatedMessages: number
  acksSent: number
  messagesDelivered: number
  redeliveries: number
  refusedSignatures: number
}

/** Everything the parts of one simulator share. There may be several in a process. */
export type Simulation = {
  readonly options: SimulationOptions
  readonly seeded: Seeded
  readonly pki: Pki
  readonly world: World
  readonly faults: Faults
  readonly trace: StanzaTrace
  readonly connections: Set<Connection>
  /** Stanzas nobody here knows how to answer. */
  readonly unknown: UnknownQuestion[]
  /** What failed in the background, as one line each: the simulator goes on, and says so in its stats. */
  readonly problems: string[]
  stats: Stats
  /** Who wrote a message the server has heard, by its id: to count repeats, and to bring receipts home. */
  readonly authors: Map<string, Companion>
  readonly media: MediaStore
  /** Host and port of the media, as clients reach them. */
  mediaHost: string
  /** By call id. */
  readonly calls: Map<string, Call>
  /** The collections of an account, as the server keeps them. */
  appStateOf(person: Person): AppState
  /** What this person's phone knows from before. */
  historyOf(person: Person): PastMessage[]
  noteUnknown(question: UnknownQuestion): void
  now(): number
  seconds(): number
  nextId(kind: string): string
  /** Sends a message of this person's again, freshly encrypted. Set by whoever puts the simulation together. */
  reencrypt(author: Person, companion: Companion, id: string | undefined): Promise<void>
  /** Lets work run on; its failure becomes a problem, never a crash of the judge. */
  inBackground(work: Promise<unknown>): void
  /** A timer that ends with the simulation. */
  later(ms: number, work: () => void): void
  reset(): void
  stop(): void
}

const MAX_PROBLEMS = 100
const MAX_UNKNOWN = 1000

export function createSimulation(options: SimulationOptions): Simulation {
  const seeded = createSeeded(options.seed)
  const timers = new Set<NodeJS.Timeout>()
  const appStates = new Map<Person, AppState>()
  const histories = new Map<Person, PastMessage[]>()
  let drawn = 0

  const stopTimers = () => {
    for (const timer of timers) clearTimeout(timer)
    timers.clear()
  }
  const simulation: Simulation = {
    options,
    seeded,
    pki: createPki(seeded),
    world: createWorld(seeded),
    faults: createFaults(seeded.stream('faults')),
    trace: createStanzaTrace(options.traceLimit),
    connections: new Set(),
    unknown: [],
    problems: [],
    stats: noStats(),
    authors: new Map(),
    media: createMediaStore(),
    mediaHost: '127.0.0.1:9',
    calls: new Map(),
    appStateOf: (person) => ofPerson(appStates, person, createAppState),
    historyOf: (person) => ofPerson(histories, person, () => []),
    noteUnknown(question) {
      if (simulation.unknown.length < MAX_UNKNOWN) simulation.unknown.push(question)
    },
    now: options.clock,
    seconds: () => Math.floor(options.clock() / 1000),
    nextId: (kind) => `${kind}-${++drawn}`,
    reencrypt: () => Promise.resolve(),
    inBackground(work) {
      work.catch((error: unknown) => {
        if (simulation.problems.length < MAX_PROBLEMS) simulation.problems.push(String(error))
      })
    },
    later(ms, work) {
      const timer = setTimeout(() => {
        timers.delete(timer)
        work()
      }, ms)
      timers.add(timer)
    },
    reset() {
      stopTimers()
      for (const connection of simulation.connections) connection.destroy()
      simulation.world.clear()
      simulation.faults.clear()
      simulation.trace.clear()
      simulation.unknown.length = 0
      simulation.problems.length = 0
      appStates.clear()
      histories.clear()
      simulation.authors.clear()
      simulation.media.clear()
      simulation.calls.clear()
      simulation.stats = noStats()
    },
    stop() {
      stopTimers()
      for (const connection of simulation.connections) connection.destroy()
    },
  }
  return simulation
}

function ofPerson<T>(all: Map<Person, T>, person: Person, create: () => T): T {
  const known = all.get(person) ?? create()
  all.set(person, known)
  return known
}

function noStats(): Stats {
  return {
    connections: 0,
    logins: 0,
    pairings: 0,
    messagesReceived: 0,
    distinctMessages: 0,
    repeatedMessages: 0,
    acksSent: 0,
    messagesDelivered: 0,
    redeliveries: 0,
    refusedSignatures: 0,
  }
}
