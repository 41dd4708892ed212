/**
 * Limits how often a tenant may ask, over all its keys: what is to be protected is shared by its keys, and a second key must
 * not double the limit. Public routes (probes, health, docs) are not limited. The answer says what remains, in the headers of
 * seed 004 (`X-RateLimit-*`) and in those of the IETF's draft.
 */
import type { FastifyReply } from 'fastify'
import type { Clock } from '../../kernel/clock.js'
import { AppError } from '../../kernel/errors.js'
import { publicId, type TenantId } from '../../kernel/ids.js'
import type { RateDecision, RateLimiter } from '../counters/rate-limit.js'
import { authOrNull } from './auth.js'
import type { App } from './route.js'

export interface RateLimitOptions {
  readonly limiter: RateLimiter
  /** Requests of one tenant, all of which may come at once. */
  readonly perMinute: number
  readonly clock: Pick<Clock, 'now'>
}

const WINDOW_MS = 60_000

/** To be added after the authentication, which says whose request it is. */
export function addRateLimit(app: App, { limiter, perMinute, clock }: RateLimitOptions): void {
  const rate = { limit: perMinute, windowMs: WINDOW_MS }
  const policy = `"default";q=${perMinute};w=${WINDOW_MS / 1_000}`

  app.addHook('onRequest', (request, reply, done) => {
    const auth = authOrNull(request)
    if (!auth) return done()
    limiter.take(rateKey(auth.tenantId), rate).then((decision) => {
      tell(reply, decision)
      done(decision.allowed ? undefined : tooMany(decision))
    }, done)
  })

  function tell(reply: FastifyReply, { remaining, resetMs }: RateDecision): void {
    reply
      .header('x-ratelimit-limit', perMinute)
      .header('x-ratelimit-remaining', remaining)
      .header('x-ratelimit-reset', Math.ceil((clock.now() + resetMs) / 1_000))
      .header('ratelimit-policy', policy)
      .header('ratelimit', `"default";r=${remaining};t=${Math.ceil(resetMs / 1_000)}`)
  }

  function tooMany({ retryAfterMs }: RateDecision): AppError {
    return new AppError('rate_limited', {
      detail: `${perMinute} requests a minute are allowed.`,
      retryAfterSeconds: Math.max(1, Math.ceil(retryAfterMs / 1_000)),
    })
  }
}

/** Of seed 004: `rate_limit:{tenant}:{endpoint}`. The braces are a hash tag in a Redis Cluster. */
const rateKey = (tenantId: TenantId): string => `rate_limit:{${publicId('ten', tenantId)}}:all`
