/**
 * The lease hint under the name of seed 000: `wbot:mutex:{<instance id>}`, the id as the API shows it, with `<holder>:<token>` as
 * value and the lease's TTL. The braces are part of the key, and its hash tag in a Redis Cluster.
 *
 * The seed makes this key the authority. It cannot be one: the clock of Redis, a restart or a FLUSHALL would each give the
 * number to a second replica. Here the compare-and-swap in PostgreSQL decides, and the winner overwrites the key.
 */
import type { Clock } from '../../kernel/clock.js'
import { idFromColumn, publicId } from '../../kernel/ids.js'
import { type Redis, redisScript } from '../redis/redis.js'
import { alarmsOf, within } from './alarm.js'
import type { Fence, Incarnation, LeaseTerms, Resource } from './lease.js'
import type { LeaseHint } from './lease-hint.js'

export interface RedisMutexOptions {
  readonly redis: Pick<Redis, 'isReady' | 'runScript'>
  readonly terms: Pick<LeaseTerms, 'ttlMs'>
  readonly clock: Clock
}

/** A take does not wait longer than this for a hint. */
const CLAIM_MS = 250
/** After a hint that did not come, none is asked for until then: a hundred takes must not wait one after another. */
const REST_MS = 5_000

/** A key of the holder who is succeeded is no reason to wait: it may outlive a dead process by the whole TTL. */
const CLAIM = redisScript(`
local now = redis.call('GET', KEYS[1])
if now and string.sub(now, 1, string.len(ARGV[3])) ~= ARGV[3] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1`)

const KEEP = redisScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 0`)

const DROP = redisScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0`)

export function createRedisMutex({ redis, terms, clock }: RedisMutexOptions): LeaseHint {
  const ttlMs = Math.round(terms.ttlMs)
  const setAlarm = alarmsOf(clock)
  let restingUntil = Number.NEGATIVE_INFINITY

  return {
    async claim({ resource, holder, token, after }) {
      if (!redis.isReady || clock.mono() < restingUntil) return true
      const value = claimValue(holder, token)
      // A free lease is taken after nobody: then any key is another process's that is taking it now.
      const predecessor = after === null ? value : claimValue(after, '')
      try {
        const answer = redis.runScript(CLAIM, [mutexKey(resource)], [value, ttlMs, predecessor])
        return (await within(setAlarm, CLAIM_MS, answer)) === 1
      } catch {
        restingUntil = clock.mono() + REST_MS
        return true
      }
    },
    keep(holder, fences) {
      for (const fence of fences) tell(KEEP, fence, [claimValue(holder, fence.token), ttlMs])
    },
    drop(holder, fence) {
      tell(DROP, fence, [claimValue(holder, fence.token)])
    },
  }

  /** Not awaited: whatever comes of it, PostgreSQL has decided. */
  function tell(script: typeof KEEP, { resource }: Pick<Fence, 'resource'>, args: readonly (string | number)[]): void {
    if (redis.isReady) redis.runScript(script, [mutexKey(resource)], args).catch(() => {})
  }
}

/** Of `instance:<id>`. */
export function mutexKey(resource: Resource): string {
  const id = resource.slice(resource.indexOf(':') + 1)
  return `wbot:mutex:{${publicId('ins', idFromColumn('ins', id))}}`
}

const claimValue = (holder: Incarnation, token: string): string => `${holder}:${token}`
