/**
 * Verifies API keys from memory. A key is looked up once, then trusted for half a minute; a change of it is announced
 * by NOTIFY and forgotten here at once, so the half minute only bounds what a lost announcement costs.
 */
import type { Clock } from '../../kernel/clock.js'
import { AppError } from '../../kernel/errors.js'
import type { ApiKeyId } from '../../kernel/ids.js'
import { errorText, type Logger } from '../../kernel/logger.js'
import type { Service } from '../../kernel/service.js'
import type { Database } from '../../platform/database/database.js'
import type { Authenticate } from '../../platform/http/auth.js'
import { type ApiKey, fits, readKey, refusal } from './api-key.js'
import { API_KEY_CHANNEL, findKeyByPublicId, touchKey } from './api-key-store.js'

export interface KeyVerifierOptions {
  readonly db: Database
  readonly clock: Clock
  readonly logger: Logger
}

export interface KeyVerifier extends Service {
  readonly authenticate: Authenticate
}

const TRUSTED_MS = 30_000
const TOUCH_EVERY_MS = 60_000
/** Enough for every live key; made-up ones push each other out and cost a look-up each. */
const MAX_REMEMBERED = 10_000

interface Memory {
  readonly key: Promise<ApiKey | undefined>
  readonly readAt: number
}

export function createKeyVerifier({ db, clock, logger }: KeyVerifierOptions): KeyVerifier {
  const memory = new Map<string, Memory>()
  const touchedAt = new Map<ApiKeyId, number>()
  const touching = new Set<Promise<void>>()
  let stopListening: (() => Promise<void>) | undefined

  return {
    authenticate,
    async start() {
      stopListening = await db.listen(
        API_KEY_CHANNEL,
        (publicId) => memory.delete(publicId),
        () => memory.clear(),
      )
    },
    async stop() {
      await stopListening?.()
      stopListening = undefined
      await Promise.all(touching)
    },
  }

  async function authenticate(presented: string) {
    for (const { publicId, secret } of readKey(presented)) {
      const key = await recall(publicId)
      if (!key || !fits(key, secret)) continue
      const reason = refusal(key, clock.now())
      if (reason) throw new AppError('unauthenticated', { detail: reason })
      noteUse(key)
      return { tenantId: key.tenantId, keyId: key.id, scopes: new Set(key.scopes) }
    }
    throw new AppError('unauthenticated', { detail: 'This API key is not known.' })
  }

  function recall(publicId: string): Promise<ApiKey | undefined> {
    const known = memory.get(publicId)
    if (known && clock.mono() - known.readAt < TRUSTED_MS) return known.key
    const key = findKeyByPublicId(db, publicId)
    memory.delete(publicId)
    memory.set(publicId, { key, readAt: clock.mono() })
    key.catch(() => memory.delete(publicId))
    const [oldest] = memory.keys()
    if (memory.size > MAX_REMEMBERED && oldest !== undefined) memory.delete(oldest)
    return key
  }

  /** Off the request's path: nobody waits for it, and its failure is nobody's failure. */
  function noteUse({ id, tenantId }: ApiKey): void {
    const now = clock.mono()
    if (now - (touchedAt.get(id) ?? Number.NEGATIVE_INFINITY) < TOUCH_EVERY_MS) return
    touchedAt.set(id, now)
    const touch = touchKey(db, tenantId, id)
      .catch((error: unknown) => logger.debug('HTTP', 'last use not noted', { keyId: id, error: errorText(error) }))
      .finally(() => touching.delete(touch))
    touching.add(touch)
  }
}
