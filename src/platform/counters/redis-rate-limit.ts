/** The rate limiter that processes share: one key, one script, by the clock of Redis. */
import { type Redis, redisScript } from '../redis/redis.js'
import type { RateLimiter } from './rate-limit.js'

/** `decideRate` in Lua. Times are ms with fractions, as text where they are kept or answered. */
const TAKE = redisScript(`
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local interval = ARGV[2] / ARGV[1]
local burst = interval * ARGV[3]
local before = tonumber(redis.call('GET', KEYS[1]) or now)
if before > now + burst then before = now end
before = math.max(before, now)
local allowed = before + interval - now <= burst
local after = before
if allowed then
  after = before + interval
  redis.call('SET', KEYS[1], string.format('%.3f', after), 'PX', math.max(1, math.ceil(after - now)))
end
return {
  allowed and 1 or 0,
  math.floor((burst - (after - now)) / interval),
  math.ceil(after - now),
  allowed and 0 or math.ceil(before + interval - burst - now)
}`)

export function createRedisRateLimiter({ redis }: { readonly redis: Pick<Redis, 'runScript'> }): RateLimiter {
  return {
    async take(key, { limit, windowMs, burst = limit }) {
      const answer = await redis.runScript(TAKE, [key], [limit, windowMs, burst])
      const [allowed = 0, remaining = 0, resetMs = 0, retryAfterMs = 0] = answer as number[]
      return { allowed: allowed === 1, remaining, resetMs, retryAfterMs }
    },
  }
}
