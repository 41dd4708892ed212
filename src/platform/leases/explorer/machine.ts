/** A machine of the model: runs one process after another, each with the real keeper and one session per held lease. */
import { silentLogger } from '../../../kernel/logger.js'
import type { Random } from '../../../kernel/random.js'
import type { Incarnation, Lease, LeaseTerms, Resource } from '../lease.js'
import type { LeaseHint } from '../lease-hint.js'
import { createLeaseKeeper, type LeaseKeeper } from '../lease-keeper.js'
import { type Conditions, createModelProcess, type ModelProcess } from './model-process.js'
import { createModelSession, type ModelSession, type Mutant } from './model-session.js'
import type { ModelStorage } from './model-storage.js'
import type { ModelWire } from './model-wire.js'
import type { Timeline } from './timeline.js'

/** What all machines of one world share. */
export interface Surroundings {
  readonly timeline: Timeline
  readonly random: Random
  readonly terms: LeaseTerms
  readonly storage: ModelStorage
  readonly wire: ModelWire
  readonly resources: readonly Resource[]
  /** False: behind a transaction pooler, where nobody holds an advisory lock. */
  readonly advisoryLocks: boolean
  /** Whether there is a hint. It says what it likes: nothing may depend on it. */
  readonly hinted: boolean
  readonly mutant: Mutant | undefined
  readonly trace: ((line: string) => void) | undefined
}

export interface Life {
  readonly process: ModelProcess
  readonly keeper: LeaseKeeper
  readonly sessions: Map<Resource, ModelSession>
}

export interface Machine {
  readonly name: string
  readonly conditions: Conditions
  /** The process that runs here, if one does. */
  readonly life: Life | undefined
  /** Does nothing while a process runs here. */
  boot(): void
  /** kill -9. PostgreSQL notices the broken connection at once. */
  kill(): void
  /** SIGTERM: sessions close, leases are released, the next process starts. */
  restart(): Promise<void>
  loseLock(): void
  regainLock(): void
}

export function createMachine(name: string, surroundings: Surroundings): Machine {
  const { timeline, random, storage, advisoryLocks, trace } = surroundings
  const conditions: Conditions = { cutOff: false, slow: false, calm: false, wallOffsetMs: 0 }
  let lifeCount = 0
  let life: Life | undefined

  return {
    name,
    conditions,
    get life() {
      return life
    },
    boot,
    kill() {
      if (!life) return
      const { holder } = life.process
      life.process.kill()
      for (const session of life.sessions.values()) session.close()
      life = undefined
      if (advisoryLocks) storage.setLock(holder, 'free')
    },
    async restart() {
      const old = life
      if (!old) return
      for (const session of old.sessions.values()) session.close()
      await old.keeper.stop()
      if (life !== old) return
      old.process.kill()
      life = undefined
      if (advisoryLocks) storage.setLock(old.process.holder, 'free')
      boot()
    },
    loseLock() {
      if (life && advisoryLocks) storage.setLock(life.process.holder, 'free')
    },
    regainLock() {
      if (life && advisoryLocks) storage.setLock(life.process.holder, 'held')
    },
  }

  function boot(): void {
    if (life) return
    const holder = `${name}.${++lifeCount}` as Incarnation
    if (advisoryLocks) storage.setLock(holder, 'held')
    trace?.(`${holder} starts`)
    life = createLife(createModelProcess({ holder, timeline, random, conditions }), surroundings)
    void life.keeper.start()
  }
}

function createLife(process: ModelProcess, surroundings: Surroundings): Life {
  const { random, terms, storage, wire, resources, hinted, mutant, trace } = surroundings
  const sessions = new Map<Resource, ModelSession>()
  let tokenCount = 0
  const keeper = createLeaseKeeper({
    store: storage.leasesFor(process, { peek: mutant === 'load_before_take' }),
    holder: process.holder,
    terms,
    clock: process.clock,
    setAlarm: process.setAlarm,
    random,
    logger: silentLogger,
    wanted: async () => resources,
    ...(hinted && { hint: lyingHint(random) }),
    newToken: () => `${process.holder}/${++tokenCount}`,
    onAcquired: beginSession,
    onLost(lease, reason) {
      trace?.(`${process.holder} loses ${lease.resource}#${lease.epoch}: ${reason}`)
      sessions.get(lease.resource)?.close()
      sessions.delete(lease.resource)
    },
  })
  return { process, keeper, sessions }

  function beginSession(lease: Lease): void {
    trace?.(`${process.holder} takes ${lease.resource}#${lease.epoch}`)
    const session = createModelSession({
      process,
      keeper,
      lease,
      storage,
      mutant,
      connect: (connected) => wire.connect(process, connected),
      emit(state) {
        trace?.(`${process.holder} sends ${lease.resource} ${state.generation}/${state.counter}`)
        wire.send(lease, state)
      },
    })
    sessions.set(lease.resource, session)
  }
}

const lyingHint = (random: Random): LeaseHint => ({ claim: async () => random() < 0.5, keep() {}, drop() {} })
