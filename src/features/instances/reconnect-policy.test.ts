import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { closeReasons } from '../../platform/whatsapp/close-reason.js'
import {
  type CloseHistory,
  cleanHistory,
  forgetFailures,
  nextReconnect,
  defaultReconnectPolicy as policy,
} from './reconnect-policy.js'

const reason = fc.constantFrom(...closeReasons)
const dice = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })
const formulaReasons = ['CONNECTION_LOST', 'UNAVAILABLE', 'NOT_DURABLE'] as const

describe('the reconnect policy', () => {
  it('waits min(base · 1.5^n, max) + random(0, jitter) after a lost connection', () => {
    fc.assert(
      fc.property(fc.constantFrom(...formulaReasons), fc.nat(19), dice, (lost, attempt, random) => {
        const history = { ...cleanHistory, attempt }
        const { next } = nextReconnect({ reason: lost, atMs: 0 }, history, policy, () => random)
        const planned = Math.min(policy.baseMs * 1.5 ** attempt, policy.maxMs)
        expect(next).toEqual({ retryInMs: planned + Math.floor(random * policy.jitterMs) })
      }),
    )
  })

  it('gives up after exactly 20 attempts in vain, whatever the losses were', () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom(...formulaReasons, 'REFUSED' as const), { minLength: 21, maxLength: 30 }),
        (losses) => {
          const retries = run(losses).filter((next) => 'retryInMs' in next)
          expect(retries).toHaveLength(policy.maxAttempts)
        },
      ),
    )
  })

  it.each(['LOGOUT', 'TOS_BLOCK', 'BANNED', 'BAD_CREDENTIALS'] as const)('never retries after %s', (spoken) => {
    fc.assert(
      fc.property(fc.nat(25), (attempt) => {
        const { next } = nextReconnect({ reason: spoken, atMs: 0 }, { ...cleanHistory, attempt }, policy, Math.random)
        expect(next).toEqual({ stop: spoken })
      }),
    )
  })

  it.each(['CLOSED', 'LEASE_LOST', 'QR_EXPIRED'] as const)('stops after %s', (ended) => {
    expect(nextReconnect({ reason: ended, atMs: 0 }, cleanHistory, policy, Math.random).next).toEqual({ stop: ended })
  })

  it('connects at once when the server asks for a restart, but does not spin', () => {
    const asked = run(Array.from({ length: 40 }, () => 'RESTART_REQUIRED' as const))
    const delays = asked.flatMap((next) => ('retryInMs' in next ? [next.retryInMs] : []))
    expect(delays.slice(0, 3)).toEqual([0, 0, 0])
    expect(delays.slice(3).every((ms) => ms >= policy.baseMs)).toBe(true)
    expect(asked.at(-1)).toEqual({ stop: 'ATTEMPTS_EXHAUSTED' })
  })

  it('waits long when it was refused', () => {
    const { next } = nextReconnect({ reason: 'REFUSED', atMs: 0 }, cleanHistory, policy, () => 0)
    expect(next).toEqual({ retryInMs: policy.refusedBaseMs })
  })

  it('lets itself be replaced at most 3 times in any 5 minutes, each time waiting 30 s or more', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(200_000), { maxLength: 60 }), (gaps) => {
        let history: CloseHistory = cleanHistory
        let atMs = 0
        const reconnectedAt: number[] = []
        for (const gap of gaps) {
          atMs += gap
          const { next, history: after } = nextReconnect({ reason: 'REPLACED', atMs }, history, policy, Math.random)
          // The number is stable in between: the window alone must keep the count.
          history = forgetFailures(after)
          if ('stop' in next) break
          expect(next.retryInMs).toBeGreaterThanOrEqual(30_000)
          reconnectedAt.push(atMs)
        }
        for (const [index, since] of reconnectedAt.entries()) {
          const fourth = reconnectedAt[index + 3]
          if (fourth !== undefined) expect(fourth - since).toBeGreaterThanOrEqual(policy.replacedWindowMs)
        }
      }),
    )
  })

  it('counts from the start again after a stable connection and after its owner acted', () => {
    const worn = { attempt: 20, restartsInARow: 9, replacedAt: [1] }
    for (const history of [forgetFailures(worn), cleanHistory]) {
      expect(nextReconnect({ reason: 'CONNECTION_LOST', atMs: 2 }, history, policy, () => 0).next).toEqual({
        retryInMs: policy.baseMs,
      })
    }
  })

  it('always decides, never with a negative or infinite delay, and ends any series without a stable connection', () => {
    fc.assert(
      fc.property(fc.array(reason, { maxLength: 200 }), dice, (reasons, random) => {
        let history: CloseHistory = cleanHistory
        for (const [index, closed] of reasons.entries()) {
          const decision = nextReconnect({ reason: closed, atMs: index }, history, policy, () => random)
          history = decision.history
          if ('stop' in decision.next) return
          expect(decision.next.retryInMs).toBeGreaterThanOrEqual(0)
          expect(decision.next.retryInMs).toBeLessThanOrEqual(policy.refusedMaxMs + policy.jitterMs)
          expect(history.attempt).toBeLessThanOrEqual(policy.maxAttempts)
        }
      }),
    )
  })
})

function run(reasons: readonly Parameters<typeof nextReconnect>[0]['reason'][]) {
  let history: CloseHistory = cleanHistory
  return reasons.map((closed, index) => {
    const decision = nextReconnect({ reason: closed, atMs: index * 1_000 }, history, policy, Math.random)
    history = decision.history
    return decision.next
  })
}
