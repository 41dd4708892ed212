/** One process of the model, from its start to its death: its clock, its calls to PostgreSQL, and what a machine does to it. */
import type { Clock } from '../../../kernel/clock.js'
import type { Random } from '../../../kernel/random.js'
import type { SetAlarm } from '../alarm.js'
import type { Incarnation } from '../lease.js'
import type { Happening, Timeline } from './timeline.js'

/** The machine's network and wall clock; the world changes them under the process. */
export interface Conditions {
  cutOff: boolean
  slow: boolean
  /** Nothing is late or lost any more. */
  calm: boolean
  wallOffsetMs: number
}

export interface ModelProcess {
  readonly holder: Incarnation
  readonly clock: Clock
  readonly setAlarm: SetAlarm
  readonly state: 'running' | 'frozen' | 'dead'
  /** Runs inside this process: later while it is frozen, never once it is dead. */
  after(ms: number, run: () => void): void
  /** One statement. It is made in one step, or never; its answer may come late, or never, while it was made. */
  call<Result>(statement: () => Result): Promise<Result>
  /** SIGSTOP: time goes on. */
  freeze(): void
  /** The whole machine stops for `ms`, its monotonic clock with it. */
  suspend(ms: number): void
  thaw(): void
  kill(): void
}

export interface ModelProcessOptions {
  readonly holder: Incarnation
  readonly timeline: Timeline
  readonly random: Random
  readonly conditions: Conditions
}

const EPOCH_MS = 1_700_000_000_000
/** How long TCP takes to say that a peer does not answer. */
const SILENCE_MS = { from: 1_000, to: 30_000 }

export function createModelProcess({ holder, timeline, random, conditions }: ModelProcessOptions): ModelProcess {
  const timers = new Set<Happening>()
  let backlog: (() => void)[] = []
  let state: ModelProcess['state'] = 'running'
  let suspendedMs = 0

  return {
    holder,
    clock: { now: () => EPOCH_MS + timeline.now + conditions.wallOffsetMs, mono, sleep },
    setAlarm,
    get state() {
      return state
    },
    after,
    call,
    freeze() {
      if (state === 'running') state = 'frozen'
    },
    suspend(ms) {
      if (state !== 'running') return
      state = 'frozen'
      suspendedMs += ms
      for (const timer of timers) timer.at += ms
    },
    thaw() {
      if (state !== 'frozen') return
      state = 'running'
      const waiting = backlog
      backlog = []
      for (const run of waiting) after(0, run)
    },
    kill() {
      state = 'dead'
      for (const timer of timers) timeline.cancel(timer)
      backlog = []
    },
  }

  function mono(): number {
    return timeline.now - suspendedMs
  }

  function after(ms: number, run: () => void): void {
    timeline.after(ms, () => execute(run))
  }

  function execute(run: () => void): void {
    if (state === 'running') run()
    else if (state === 'frozen') backlog.push(run)
  }

  function setAlarm(ms: number, ring: () => void): () => void {
    let off = false
    const timer = timeline.after(ms, () => {
      timers.delete(timer)
      // While the process is frozen the timer is due, and may still be called off by what runs first after the thaw.
      execute(() => off || ring())
    })
    timers.add(timer)
    return () => {
      off = true
      timers.delete(timer)
      timeline.cancel(timer)
    }
  }

  function sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason)
      const callOff = setAlarm(ms, resolve)
      signal?.addEventListener('abort', () => {
        callOff()
        reject(signal.reason)
      })
    })
  }

  function call<Result>(statement: () => Result): Promise<Result> {
    return new Promise((resolve, reject) => {
      // One happening less for most statements: it is the answer that may come at any time.
      if (!conditions.slow && !conditions.cutOff && random() < 0.7) return make(statement, resolve, reject)
      if (conditions.cutOff && random() < 0.5) return after(1, () => reject(new Error('connection refused')))
      timeline.after(latencyMs(), () => make(statement, resolve, reject))
    })
  }

  function make<Result>(
    statement: () => Result,
    resolve: (result: Result) => void,
    reject: (error: unknown) => void,
  ): void {
    const answer = conditions.cutOff ? undefined : outcome(statement, resolve, reject)
    if (!answer || isAnswerLost()) unanswered(reject)
    else after(latencyMs(), () => (conditions.cutOff ? unanswered(reject) : answer()))
  }

  function unanswered(reject: (error: Error) => void): void {
    after(logUniform(random, SILENCE_MS.from, SILENCE_MS.to), () => reject(new Error('connection lost')))
  }

  function isAnswerLost(): boolean {
    return !conditions.calm && random() < 0.03
  }

  function latencyMs(): number {
    if (conditions.slow) return logUniform(random, 100, 40_000)
    const luck = conditions.calm ? 0 : random()
    if (luck < 0.9) return 1 + 3 * random()
    return luck < 0.97 ? logUniform(random, 5, 700) : logUniform(random, 700, 40_000)
  }
}

/** Makes the statement now; what is returned tells the caller how that went. */
function outcome<Result>(
  statement: () => Result,
  resolve: (result: Result) => void,
  reject: (error: unknown) => void,
): () => void {
  try {
    const result = statement()
    return () => resolve(result)
  } catch (error) {
    return () => reject(error)
  }
}

/** Short and long are equally likely, whatever their number of digits. */
export function logUniform(random: Random, from: number, to: number): number {
  return from * (to / from) ** random()
}
