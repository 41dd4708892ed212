/**
 * A cache of what is read often and may be a few seconds old. Nothing secret and nothing personal is kept in it: counts and
 * other numbers. Each entry belongs to a tenant and says when it was made, so that its age can be shown.
 *
 * Promises: a value is never given to another tenant, nor beyond its time; many who ask this process at once have it made once.
 * Does not promise to keep anything: a place that fails, or forgets, only means that the value is made again.
 */
import type { Clock } from '../../kernel/clock.js'
import { publicId, type TenantId } from '../../kernel/ids.js'

export interface CacheKey {
  readonly tenantId: TenantId
  /** What it is, such as `instance-counts`. */
  readonly name: string
}

export interface Cached<Value> {
  readonly value: Value
  /** How long ago it was made. */
  readonly ageMs: number
}

export interface Cache {
  /** What is there, or else what `make` brings, which is JSON and is kept for `ttlMs`. Rejects as `make` does. */
  remember<Value>(key: CacheKey, ttlMs: number, make: () => Promise<Value>): Promise<Cached<Value>>
  /** The next who asks has it made anew. */
  forget(key: CacheKey): Promise<void>
}

/** Where texts are kept: an adapter. May reject, and may forget at any time. */
export interface CachePlace {
  get(key: string): Promise<string | undefined>
  set(key: string, text: string, ttlMs: number): Promise<void>
  delete(key: string): Promise<void>
}

interface Entry<Value> {
  readonly at: number
  readonly value: Value
}

/** After a failure the place is left alone for as long: one that hangs must not hold up each request. */
const REST_MS = 2_000

export function createCache(options: { readonly place: CachePlace; readonly clock: Clock }): Cache {
  const { place, clock } = options
  const making = new Map<string, Promise<Entry<unknown>>>()
  let restingUntil = Number.NEGATIVE_INFINITY

  return {
    async remember<Value>(key: CacheKey, ttlMs: number, make: () => Promise<Value>): Promise<Cached<Value>> {
      const text = keyText(key)
      const underWay = making.get(text) ?? find(text, ttlMs, make).finally(() => making.delete(text))
      making.set(text, underWay)
      const { at, value } = (await underWay) as Entry<Value>
      // Made by another machine, whose clock may be ahead.
      return { value, ageMs: Math.max(0, clock.now() - at) }
    },
    async forget(key) {
      await ask(() => place.delete(keyText(key)))
    },
  }

  async function find(text: string, ttlMs: number, make: () => Promise<unknown>): Promise<Entry<unknown>> {
    const kept = await ask(() => place.get(text))
    if (kept !== undefined) return JSON.parse(kept) as Entry<unknown>
    const entry = { at: clock.now(), value: await make() }
    await ask(() => place.set(text, JSON.stringify(entry), ttlMs))
    return entry
  }

  async function ask<Answer>(question: () => Promise<Answer>): Promise<Answer | undefined> {
    if (clock.mono() < restingUntil) return undefined
    try {
      return await question()
    } catch {
      restingUntil = clock.mono() + REST_MS
      return undefined
    }
  }
}

/** The braces are a hash tag in a Redis Cluster. */
const keyText = ({ tenantId, name }: CacheKey): string => `cache:{${publicId('ten', tenantId)}}:${name}`
