/**
 * Keeps one child process running: forks it, starts it again when it dies (at once the first time, then ever more slowly),
 * stops it in peace or by force.
 */
import type { ChildProcess } from 'node:child_process'
import { type Backoff, backoffMs } from '../kernel/backoff.js'
import type { Clock } from '../kernel/clock.js'
import type { Logger } from '../kernel/logger.js'
import type { Random } from '../kernel/random.js'
import type { FromChild, ToChild } from './child-protocol.js'
import { forkChild } from './fork-child.js'
import type { ProcessPlan } from './roles.js'
import type { Runner, RunnerHooks } from './runner.js'

export interface ChildKeeperOptions extends RunnerHooks {
  readonly plan: ProcessPlan
  /** The first process, forked already. */
  readonly early?: ChildProcess | undefined
  /** Path of the module that the child runs. */
  readonly module: string
  /** Options of Node for the child; default: those of this process. */
  readonly execArgv?: readonly string[]
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
}

/** Fast first: most deaths are single. */
const RESTART: Backoff = { baseMs: 100, factor: 2, maxMs: 30_000, jitter: 0.3 }
/** Whoever ran this long starts counting anew. */
const STEADY_MS = 60_000

export function createChildKeeper(options: ChildKeeperOptions): Runner {
  const { plan, module, execArgv = process.execArgv, clock, random, logger, onReady, onFinal } = options
  const { name } = plan
  let { early } = options
  const stopping = new AbortController()
  let child: ChildProcess | undefined
  let exited: Promise<void> = Promise.resolve()
  let start: ToChild | undefined
  let deaths = 0

  return {
    launch: ensureLaunched,
    begin(message) {
      if (stopping.signal.aborted) return
      const anew = start !== undefined
      start = message
      if (!child) launch()
      else if (anew) child.kill('SIGKILL')
      else send(message)
    },
    async stop(graceMs) {
      stopping.abort()
      send({ type: 'stop' })
      const waited = new AbortController()
      const late = clock.sleep(graceMs, waited.signal).then(kill, () => undefined)
      await exited
      waited.abort()
      await late
    },
    kill,
  }

  function ensureLaunched(): void {
    if (!child && !stopping.signal.aborted) launch()
  }

  function launch(): void {
    const launchedAt = clock.mono()
    const launched = early ?? forkChild(plan, module, execArgv)
    early = undefined
    child = launched
    launched.ref()
    launched.channel?.ref()
    launched.on('message', (message) => receive(message as FromChild))
    exited = new Promise((resolve) => {
      const settle = (how: string): void => {
        if (child !== launched) return
        child = undefined
        resolve()
        if (!stopping.signal.aborted) void restart(how, clock.mono() - launchedAt)
      }
      launched.once('exit', (code, signal) => settle(signal ?? `exit code ${code}`))
      // A fork that fails has no exit. Other errors (a signal or a message that did not reach it) say nothing about its life,
      // and may come more than once.
      launched.on('error', (error) => {
        if (launched.pid === undefined) settle(error.message)
        else logger.warn('INFO', `${name} could not be reached`, { error: error.message })
      })
      if (launched.exitCode !== null) settle(`exit code ${launched.exitCode}`)
    })
    if (start) send(start)
  }

  async function restart(how: string, ranMs: number): Promise<void> {
    deaths = ranMs >= STEADY_MS ? 1 : deaths + 1
    const delayMs = backoffMs(deaths - 1, RESTART, random)
    logger.error('INFO', `${name} ended, starting it again`, { how, ranMs: Math.round(ranMs), delayMs })
    try {
      await clock.sleep(delayMs, stopping.signal)
    } catch {
      return
    }
    ensureLaunched()
  }

  function receive(message: FromChild): void {
    if (message.type === 'ready') {
      onReady(message.url)
      return
    }
    logger.error('INFO', `${name} could not start`, { error: message.message })
    if (message.final) onFinal(message.message)
  }

  function send(message: ToChild): void {
    // A child that is going away cannot be told; its exit is what counts.
    if (child?.connected) child.send(message, () => {})
  }

  function kill(): void {
    stopping.abort()
    child?.kill('SIGKILL')
  }
}
