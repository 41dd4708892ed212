import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Answer, judge } from './outcome.js'
import { delayAfter, MAX_ATTEMPTS, MAX_RETRY_AFTER_MS, parseRetryAfter, retryDelaysMs } from './retry-schedule.js'

const nowMs = Date.UTC(2026, 10, 21)
const middle = (): number => 0.5
const first = { attempt: 1, nowMs, random: middle }
const status = (code: number, headers: Record<string, string> = {}): Answer => ({ status: code, headers })

describe('the outcome of a try', () => {
  it.each([200, 201, 202, 204, 299])('is delivered on %i', (code) => {
    expect(judge(status(code), first)).toEqual({ result: 'delivered' })
  })

  it.each([301, 302, 307, 308, 400, 401, 404, 422, 500, 502])('is a failure to retry on %i', (code) => {
    expect(judge(status(code), first)).toEqual({ result: 'retry', error: `http_${code}`, afterMs: 5_000 })
  })

  it.each(['timeout', 'connect', 'dns', 'refused_address'] as const)('is a failure to retry on %s', (failure) => {
    expect(judge({ failure }, first)).toEqual({ result: 'retry', error: failure, afterMs: 5_000 })
  })

  it('is gone on 410, at any try', () => {
    expect(judge(status(410), first).result).toBe('gone')
    expect(judge(status(410), { ...first, attempt: MAX_ATTEMPTS }).result).toBe('gone')
  })

  it('is exhausted after the last try', () => {
    expect(judge(status(500), { ...first, attempt: MAX_ATTEMPTS })).toEqual({ result: 'exhausted', error: 'http_500' })
  })

  it('waits as long as Retry-After asks, up to a day', () => {
    const asked = (value: string) => judge(status(429, { 'retry-after': value }), first)
    expect(asked('120')).toMatchObject({ afterMs: 120_000 })
    expect(asked(new Date(nowMs + 90_000).toUTCString())).toMatchObject({ afterMs: 90_000 })
    expect(asked('999999999')).toMatchObject({ afterMs: MAX_RETRY_AFTER_MS })
  })

  it('keeps its schedule where Retry-After asks for less, or for nonsense', () => {
    for (const value of ['0', '1', '-5', 'soon', '', new Date(nowMs - 1_000).toUTCString()]) {
      expect(judge(status(503, { 'retry-after': value }), first)).toMatchObject({ afterMs: 5_000 })
    }
  })
})

describe('the retry schedule', () => {
  it('tries for more than three days', () => {
    expect(MAX_ATTEMPTS).toBe(10)
    expect(retryDelaysMs.reduce((sum, delay) => sum + delay, 0)).toBeGreaterThan(75 * 3_600_000)
  })

  it('spreads each delay by at most a fifth', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: MAX_ATTEMPTS - 1 }),
        fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }),
        (attempt, random) => {
          const planned = retryDelaysMs[attempt - 1] ?? 0
          const delay = delayAfter(attempt, () => random) ?? 0
          expect(Math.abs(delay - planned)).toBeLessThanOrEqual(planned * 0.2 + 1)
        },
      ),
    )
    expect(delayAfter(MAX_ATTEMPTS, middle)).toBeUndefined()
  })

  it('never waits a negative time or more than a day for any Retry-After', () => {
    fc.assert(
      fc.property(fc.string(), (header) => {
        const ms = parseRetryAfter(header, nowMs)
        expect(ms === undefined || (ms >= 0 && ms <= MAX_RETRY_AFTER_MS)).toBe(true)
      }),
    )
  })
})
