/**
 * What `serve` is: it owns the data directory and the embedded PostgreSQL, brings the database up to date, and keeps the
 * processes running that do the work. It serves nothing itself, so nothing that a client or WhatsApp sends can hurt it.
 *
 *   runners load their code ─────────────────────────────┐
 *   lock directory → start PostgreSQL → migrate → keys ──┴─▶ begin all ─▶ ready
 *   stop: all runners drain and release at once → PostgreSQL → directory
 */
import type { Clock } from '../kernel/clock.js'
import type { Logger } from '../kernel/logger.js'
import type { DirectoryLock } from '../platform/database/directory-lock.js'
import type { Config, OperatorConfig } from './config.js'
import { directoryKey, openDataDirectory } from './data-directory.js'
import type { EmbeddedKeeper } from './embedded-keeper.js'
import type { Prepared } from './prepare-database.js'
import type { ProcessPlan } from './roles.js'
import type { Runner, RunnerHooks } from './runner.js'

export interface SupervisorOptions {
  readonly config: OperatorConfig
  readonly plans: readonly ProcessPlan[]
  readonly clock: Clock
  readonly logger: Logger
  readonly makeRunner: (plan: ProcessPlan, hooks: RunnerHooks) => Runner
  readonly startEmbedded: (directory: string, onMoved: (url: string) => void) => Promise<EmbeddedKeeper>
  readonly prepareDatabase: (config: Config, signal: AbortSignal) => Promise<Prepared>
  /** Nothing more can be done without a person. Call `stop`. */
  readonly onFinal: (message: string) => void
}

export interface Serving {
  /** Of the HTTP API; undefined without the web role. */
  readonly url: string | undefined
  /** The first admin key, when it was made just now: show it once and forget it. */
  readonly newApiKey: string | undefined
}

export interface Supervisor {
  /** Resolves when every role serves. */
  start(): Promise<Serving>
  /** In peace; idempotent, also during `start`. */
  stop(): Promise<void>
  /** Now: the children first, then PostgreSQL without its checkpoint. Synchronous. */
  kill(): void
}

/** After the wait for balancers. Sends under way get 10 s of it; what is left of the 25 s belongs to PostgreSQL. */
const STOP_GRACE_MS = 24_000

export function createSupervisor(options: SupervisorOptions): Supervisor {
  const { config, plans, logger, clock, onFinal } = options
  const stopping = new AbortController()
  const launched = plans.map((plan) => launchable(plan))
  let directory: DirectoryLock | undefined
  let embedded: EmbeddedKeeper | undefined
  let complete: Config | undefined
  let starting: Promise<Serving> | undefined
  let stopped: Promise<void> | undefined

  return {
    start: () => (starting ??= start()),
    stop: () => (stopped ??= stop()),
    kill() {
      for (const { runner } of launched) runner.kill()
      embedded?.kill()
    },
  }

  async function start(): Promise<Serving> {
    const since = clock.mono()
    launchFirst()
    const decided = await completeConfig()
    const prepared = await options.prepareDatabase(decided, stopping.signal)
    const preparedMs = clock.mono() - since
    stopping.signal.throwIfAborted()
    beginAll(decided)
    const urls = await aborting(Promise.all(launched.map(({ ready }) => ready)), stopping.signal)
    logger.info('INFO', 'all roles serve', {
      databaseMs: Math.round(preparedMs),
      totalMs: Math.round(clock.mono() - since),
    })
    return { url: urls.find((url) => url !== undefined), newApiKey: prepared.newApiKey }
  }

  async function stop(): Promise<void> {
    stopping.abort(new Error('stopped during the start'))
    const runnersStopped = Promise.all(launched.map(({ runner }) => runner.stop(config.drainWaitMs + STOP_GRACE_MS)))
    // A start that is under way may still be making the database: what it opened is closed below, not left behind.
    await starting?.catch(() => undefined)
    await runnersStopped
    await embedded?.stop()
    await directory?.release()
  }

  /** The API first, by itself: whoever starts Mirante waits for that, and on few cores the others would only slow it down. */
  function launchFirst(): void {
    const first = launched.find(({ plan }) => plan.roles.includes('web'))
    for (const { runner } of first ? [first] : launched) runner.launch()
  }

  /** Decides what the operator left open. */
  async function completeConfig(): Promise<Config> {
    if (!config.databaseUrl || !config.encryptionKey) directory = await openDataDirectory(config.dataDirectory)
    const encryptionKey = config.encryptionKey ?? generatedKey()
    embedded = config.databaseUrl ? undefined : await options.startEmbedded(config.dataDirectory, databaseMoved)
    stopping.signal.throwIfAborted()
    return { ...config, encryptionKey, databaseUrl: config.databaseUrl ?? embedded?.url ?? '' }
  }

  function generatedKey(): Buffer {
    const { key, file, generated } = directoryKey(config.dataDirectory)
    if (generated)
      logger.warn('INFO', 'generated an encryption key: back it up, without it the logins are lost', { file })
    if (config.databaseUrl) {
      logger.warn('INFO', 'other replicas on this database need the same key: give it to them in ENCRYPTION_KEY', {
        file,
      })
    }
    return key
  }

  /** Processes look for the database where it was, so they begin anew; nothing of theirs is lost by that. */
  function databaseMoved(databaseUrl: string): void {
    if (complete) beginAll({ ...complete, databaseUrl })
  }

  function beginAll(config: Config): void {
    complete = config
    for (const { runner, plan } of launched) runner.begin({ type: 'start', config, plan })
  }

  function launchable(plan: ProcessPlan) {
    let resolveReady: (url: string | undefined) => void = () => {}
    const ready = new Promise<string | undefined>((resolve) => {
      resolveReady = resolve
    })
    return { plan, ready, runner: options.makeRunner(plan, { onReady: resolveReady, onFinal }) }
  }
}

function aborting<Value>(work: Promise<Value>, signal: AbortSignal): Promise<Value> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted()
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
    work.then(resolve, reject)
  })
}
