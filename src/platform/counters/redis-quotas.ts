/**
 * Quotas in Redis, under the names of seed 004 (`quota:daily:{tenant}:date` …); the braces are a hash tag, so that all of a
 * tenant lies on one server of a cluster. Its counters are a copy: which server counted them is kept beside them (its run id), and
 * a server that was wiped, restarted or promoted has not. Then the book is counted anew, and nothing is granted until that is done.
 */
import { randomUUID } from 'node:crypto'
import { publicId, type TenantId } from '../../kernel/ids.js'
import { type Redis, redisScript } from '../redis/redis.js'
import { type QuotaAnswer, type QuotaBook, type Quotas, type QuotaUse, quotaNames, type Recount } from './quotas.js'

export interface RedisQuotasOptions {
  readonly redis: Pick<Redis, 'run' | 'runScript'>
  readonly recount: Recount
}

const KEEP_S = { daily: 48 * 3_600, hourly: 2 * 3_600, number: 48 * 3_600 } as const
const DAY_S = KEEP_S.daily
/** A recount that takes longer is not believed. */
const COUNTING_S = 60
const ATTEMPTS = 5

const COUNTED_HERE = `
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
local function countedHere(key) return redis.call('GET', key) == run end
`

/** Keys: counted, granted, asked, and a counter for each limit. Arguments: the message; limits; seconds to keep the counters. */
const RESERVE = redisScript(`${COUNTED_HERE}
if not countedHere(KEYS[1]) then return {-1} end
if redis.call('SISMEMBER', KEYS[2], ARGV[1]) == 1 then return {2} end
local included = redis.call('SREM', KEYS[3], ARGV[1])
for i = 1, 3 do
  local used = tonumber(redis.call('GET', KEYS[3 + i]) or '0') - included
  if used + 1 > tonumber(ARGV[1 + i]) then
    if included == 1 then for j = 1, 3 do redis.call('DECR', KEYS[3 + j]) end end
    return {0, i, used}
  end
end
if included == 0 then
  for i = 1, 3 do
    if redis.call('INCR', KEYS[3 + i]) == 1 then redis.call('EXPIRE', KEYS[3 + i], ARGV[4 + i]) end
  end
end
redis.call('SADD', KEYS[2], ARGV[1])
redis.call('EXPIRE', KEYS[2], ARGV[5])
return {1}`)

/** The same keys. A counter that has expired stays so. */
const RELEASE = redisScript(`${COUNTED_HERE}
if not countedHere(KEYS[1]) then return 0 end
if redis.call('SREM', KEYS[2], ARGV[1]) + redis.call('SREM', KEYS[3], ARGV[1]) == 0 then return 0 end
for i = 1, 3 do
  if tonumber(redis.call('GET', KEYS[3 + i]) or '0') > 0 then redis.call('DECR', KEYS[3 + i]) end
end
return 1`)

/**
 * Keys: counted, granted, asked, counting, then counters. Arguments: the token of this count, the number of counters, the number
 * of granted messages, seconds; a count and seconds for each counter; the granted, the asking. Refused when somebody else counts,
 * or when the token was lost: what was counted is older than that loss.
 */
const FILL = redisScript(`${COUNTED_HERE}
if countedHere(KEYS[1]) or redis.call('GET', KEYS[4]) ~= ARGV[1] then return 0 end
local counters, granted = tonumber(ARGV[2]), tonumber(ARGV[3])
redis.call('DEL', KEYS[2], KEYS[3], KEYS[4])
for i = 1, counters do redis.call('SET', KEYS[4 + i], ARGV[3 + 2 * i], 'EX', ARGV[4 + 2 * i]) end
local first = 5 + 2 * counters
for i = first, #ARGV do redis.call('SADD', i < first + granted and KEYS[2] or KEYS[3], ARGV[i]) end
redis.call('EXPIRE', KEYS[2], ARGV[4])
redis.call('EXPIRE', KEYS[3], ARGV[4])
redis.call('SET', KEYS[1], run, 'EX', ARGV[4])
return 1`)

export function createRedisQuotas({ redis, recount }: RedisQuotasOptions): Quotas {
  /** Under way in this process, by tenant and day. */
  const counting = new Map<string, Promise<void>>()

  return {
    async reserve(use, limits) {
      const { counted, granted, asked } = dayKeys(use.tenantId, use.day)
      const keys = [counted, granted, asked, ...counterKeys(use).map(({ key }) => key)]
      const args = [use.messageId, ...quotaNames.map((name) => limits[name]), ...quotaNames.map((name) => KEEP_S[name])]
      for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
        const answer = answerOf((await redis.runScript(RESERVE, keys, args)) as number[])
        if (answer) return answer
        await countOnce(use.tenantId, use.day)
      }
      throw new Error('the quotas in Redis were lost again and again while they were counted')
    },
    async release(use) {
      const { counted, granted, asked } = dayKeys(use.tenantId, use.day)
      const keys = [counted, granted, asked, ...counterKeys(use).map(({ key }) => key)]
      return (await redis.runScript(RELEASE, keys, [use.messageId])) === 1
    },
  }

  function countOnce(tenantId: TenantId, day: string): Promise<void> {
    const { counted } = dayKeys(tenantId, day)
    const underWay = counting.get(counted) ?? count(tenantId, day).finally(() => counting.delete(counted))
    counting.set(counted, underWay)
    return underWay
  }

  async function count(tenantId: TenantId, day: string): Promise<void> {
    const { counted, granted, asked, counting: mark } = dayKeys(tenantId, day)
    const token = randomUUID()
    await redis.run('set', mark, token, 'EX', COUNTING_S)
    const book = await recount(tenantId, day)
    const counters = countUses(book)
    const messages = [...book.granted, ...book.asked].map(({ messageId }) => messageId)
    await redis.runScript(
      FILL,
      [counted, granted, asked, mark, ...counters.keys()],
      [
        ...[token, counters.size, book.granted.length, DAY_S],
        ...[...counters.values()].flatMap(({ used, keepS }) => [used, keepS]),
        ...messages,
      ],
    )
  }
}

/** Undefined: this server has not counted. */
function answerOf([outcome, limit = 0, used = 0]: readonly number[]): QuotaAnswer | undefined {
  if (outcome === -1) return undefined
  const by = quotaNames[limit - 1]
  return outcome === 0 && by ? { granted: false, by, used } : { granted: true, replay: outcome === 2 }
}

function countUses({ granted, asked }: QuotaBook): Map<string, { used: number; readonly keepS: number }> {
  const counters = new Map<string, { used: number; readonly keepS: number }>()
  for (const { key, keepS } of [...granted, ...asked].flatMap(counterKeys)) {
    const counter = counters.get(key) ?? { used: 0, keepS }
    counter.used++
    counters.set(key, counter)
  }
  return counters
}

function dayKeys(tenantId: TenantId, day: string) {
  const key = (what: string): string => `quota:${what}:{${publicId('ten', tenantId)}}:${day}`
  return { counted: key('counted'), counting: key('counting'), granted: key('granted'), asked: key('asked') }
}

/** A number is named by its instance: no phone number stands in Redis. */
function counterKeys({ tenantId, instanceId, day, hour }: QuotaUse) {
  const tag = `{${publicId('ten', tenantId)}}`
  return [
    { key: `quota:daily:${tag}:${day}`, keepS: KEEP_S.daily },
    { key: `quota:hourly:${tag}:${hour}`, keepS: KEEP_S.hourly },
    { key: `quota:number:${tag}:${publicId('ins', instanceId)}:${day}`, keepS: KEEP_S.number },
  ]
}
