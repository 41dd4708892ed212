/**
 * Keeps the words of messages findable, a second or so behind: accepting and ingesting cost nothing for it. Follows each
 * tenant's sequence of events from where it last was, so nothing is left out whatever process dies when; any number of
 * processes may run it.
 */
import type { Clock } from '../../kernel/clock.js'
import { errorText, type Logger } from '../../kernel/logger.js'
import type { Random } from '../../kernel/random.js'
import type { Service } from '../../kernel/service.js'
import type { Database } from '../../platform/database/database.js'
import { findUnsearched, indexNext } from './search-store.js'

export interface SearchIndexOptions {
  readonly db: Database
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
}

export interface SearchIndex extends Service {
  /** Takes in all that there is now. */
  catchUp(): Promise<void>
}

const BATCH = 500
/** Between two looks: what comes meanwhile is taken in together. */
const PAUSE_MS = 1_000
const JITTER = 0.2

export function createSearchIndex({ db, clock, random, logger }: SearchIndexOptions): SearchIndex {
  const stopping = new AbortController()
  let running: Promise<void> | undefined

  return {
    catchUp,
    async start() {
      running ??= loop()
    },
    async stop() {
      stopping.abort()
      await running
    },
  }

  async function loop(): Promise<void> {
    while (!stopping.signal.aborted) {
      await catchUp().catch((error: unknown) => {
        logger.warn('INFO', 'messages could not be made findable', { error: errorText(error) })
      })
      await clock.sleep(PAUSE_MS * (1 + JITTER * (2 * random() - 1)), stopping.signal).catch(() => undefined)
    }
  }

  async function catchUp(): Promise<void> {
    for (const tenantId of await findUnsearched(db)) {
      while (!stopping.signal.aborted && (await indexNext(db, tenantId, BATCH)) === BATCH);
    }
  }
}
