/** Brings the database to this version's schema, checks the operator's key against it, and makes tenant and first API key. */

import { ensureFirstKey } from '../features/tenants/bootstrap-key.js'
import { createDataKeys, kekOf } from '../features/tenants/data-keys.js'
import { backoffMs } from '../kernel/backoff.js'
import type { Clock } from '../kernel/clock.js'
import { createIdGenerator } from '../kernel/ids.js'
import { errorText, type Logger } from '../kernel/logger.js'
import type { Random } from '../kernel/random.js'
import { isDatabaseUnavailable } from '../platform/database/database.js'
import { migrate } from '../platform/database/migrate.js'
import { refuseMovedDatabase } from '../platform/database/move-mark.js'
import { poolerRefusal, refusePooler } from '../platform/database/pooler.js'
import { createPostgres } from '../platform/database/postgres.js'
import type { Config } from './config.js'

export interface Prepared {
  /** The first admin key, when it was made just now: show it once and forget it. */
  readonly newApiKey: string | undefined
}

export interface PrepareOptions {
  readonly config: Config
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  /** Ends the waiting for a server that does not answer. */
  readonly signal: AbortSignal
}

/** A server that starts beside us needs seconds; one that is down for long is asked every ten. */
const WAIT = { baseMs: 250, factor: 2, maxMs: 10_000, jitter: 0.2 }

/** Waits as long as the server does not answer; every other failure (wrong password, wrong key, newer schema) is thrown. */
export async function prepareDatabase(options: PrepareOptions): Promise<Prepared> {
  const { clock, random, logger, signal } = options
  for (let attempt = 0; ; attempt++) {
    try {
      return await prepareOnce(options)
    } catch (caught) {
      const error = poolerRefusal(caught)
      if (!isDatabaseUnavailable(error)) throw error
      logger.warn('INFO', 'the database does not answer yet, waiting for it', { error: errorText(error), attempt })
      await clock.sleep(backoffMs(attempt, WAIT, random), signal)
    }
  }
}

async function prepareOnce({ config, logger }: PrepareOptions): Promise<Prepared> {
  const url = config.databaseUrl
  const { newer } = await migrate(url, { onProgress: (migration) => logger.info('INFO', 'migrating', { migration }) })
  if (newer.length > 0) {
    logger.warn('INFO', 'the database belongs to a newer version that this one works with', {
      migration: newer.join(),
      detail: 'finish the update: restart this replica with the newer version',
    })
  }
  const db = createPostgres({ url, max: 1, applicationName: 'mirante start', onError: () => {} })
  try {
    await refusePooler(db)
    await refuseMovedDatabase(db)
    const kek = kekOf(config.encryptionKey)
    await createDataKeys({ db, kek }).verify()
    const newApiKey = await ensureFirstKey({ db, ids: createIdGenerator(), bootstrapKey: config.bootstrapApiKey })
    return { newApiKey }
  } finally {
    await db.close()
  }
}
