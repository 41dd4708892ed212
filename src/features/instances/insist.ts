import { backoffMs } from '../../kernel/backoff.js'
import type { Clock } from '../../kernel/clock.js'
import { errorText, type Logger } from '../../kernel/logger.js'
import type { Random } from '../../kernel/random.js'
import { isDatabaseUnavailable, sqlState } from '../../platform/database/database.js'

export interface Insistence {
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  /** Ends the insisting; the last error is thrown. */
  readonly signal: AbortSignal
}

const BACKOFF = { baseMs: 200, factor: 2, maxMs: 5_000, jitter: 0.3 }
/** Statement cancelled by its timeout, lock not available, serialization failure, deadlock. */
const PASSING = new Set(['57014', '55P03', '40001', '40P01'])

/** Does work on the database again and again while the database is away. Any other failure is thrown at once. */
export async function insist<Result>(work: () => Promise<Result>, insistence: Insistence): Promise<Result> {
  const { clock, random, logger, signal } = insistence
  for (let attempt = 0; ; attempt++) {
    try {
      return await work()
    } catch (error) {
      if (signal.aborted || !isPassing(error)) throw error
      if (attempt === 0) logger.warn('SESSION', 'the database does not answer; trying on', { error: errorText(error) })
      await clock.sleep(backoffMs(attempt, BACKOFF, random), signal).catch(() => {})
      if (signal.aborted) throw error
    }
  }
}

const isPassing = (error: unknown): boolean => isDatabaseUnavailable(error) || PASSING.has(sqlState(error) ?? '')
