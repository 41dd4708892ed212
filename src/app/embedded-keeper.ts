/** Keeps the embedded PostgreSQL running: a server that dies is started again at the same address. */
import { backoffMs } from '../kernel/backoff.js'
import type { Clock } from '../kernel/clock.js'
import { errorText, type Logger } from '../kernel/logger.js'
import type { Random } from '../kernel/random.js'
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../platform/database/embedded.js'

export interface EmbeddedKeeper {
  readonly url: string
  stop(): Promise<void>
  /** Now, without a checkpoint; its next start recovers. Synchronous. */
  kill(): void
}

export interface EmbeddedKeeperOptions {
  /** The data directory. */
  readonly directory: string
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  /** It is back, but not where its clients look for it: somebody else has its port. */
  readonly onMoved: (url: string) => void
}

const RESTART = { baseMs: 100, factor: 2, maxMs: 10_000, jitter: 0.2 }

/** Errors are those of `startEmbeddedPostgres`; later ones are logged and tried again for ever. */
export async function keepEmbedded(options: EmbeddedKeeperOptions): Promise<EmbeddedKeeper> {
  const { directory, clock, random, logger, onMoved } = options
  const stopping = new AbortController()
  const launch = () => startEmbeddedPostgres({ directory, logger })
  let current: EmbeddedPostgres | undefined = await launch()
  let restarting: Promise<void> | undefined
  let { url } = current
  watch(current)

  return {
    url: current.url,
    async stop() {
      stopping.abort()
      await restarting
      await current?.stop()
    },
    kill() {
      stopping.abort()
      if (current) process.kill(current.pid, 'SIGQUIT')
    },
  }

  function watch(server: EmbeddedPostgres): void {
    server.onExit(() => {
      if (stopping.signal.aborted) return
      current = undefined
      restarting = restart()
    })
  }

  async function restart(): Promise<void> {
    logger.error('INFO', 'the embedded PostgreSQL ended, starting it again')
    for (let attempt = 0; !stopping.signal.aborted; attempt++) {
      try {
        current = await launch()
        watch(current)
        if (current.url !== url) onMoved(current.url)
        url = current.url
        return
      } catch (error) {
        logger.error('INFO', 'the embedded PostgreSQL does not start', { error: errorText(error), attempt })
        await clock.sleep(backoffMs(attempt, RESTART, random), stopping.signal).catch(() => undefined)
      }
    }
  }
}
