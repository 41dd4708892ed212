import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  doubt,
  howToTake,
  type Incarnation,
  type LeaseRecord,
  leaseTerms,
  type Observation,
  observe,
  type Resource,
  type TakeHow,
} from './lease.js'

const terms = leaseTerms(45_000)
const self = 'me' as Incarnation
const other = 'other' as Incarnation

function record(overrides: Partial<LeaseRecord> = {}): LeaseRecord {
  const held = {
    resource: 'r' as Resource,
    holder: other,
    epoch: 3n,
    renewSeq: 7n,
    holderName: null,
    holderGone: false,
  }
  return { ...held, ...overrides }
}

/** Folds polls (each at its own ms) and says how the last one allows a take; 'not': it does not. */
function judge(polls: readonly (readonly [mono: number, record: LeaseRecord])[]): TakeHow | 'not' {
  let observation: Observation | undefined
  for (const [mono, seen] of polls) observation = observe(observation, seen, mono)
  const last = polls.at(-1)
  return (observation && last && howToTake(observation, { self, mono: last[0], terms })) ?? 'not'
}

describe('leaseTerms', () => {
  it('derives the terms of the default TTL', () => {
    expect(terms).toMatchObject({ renewEveryMs: 10_000, renewTimeoutMs: 2_000, trustMs: 30_000, marginMs: 5_000 })
    expect(terms).toMatchObject({ pollEveryMs: 5_000, pollJitterMs: 1_000, goneMs: 1_000, maxLagMs: 15_000 })
  })

  it('lets the trust of a holder end before anybody may take over, at every TTL', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1_500, max: 600_000 }), (ttlMs) => {
        const { trustMs, marginMs, renewEveryMs } = leaseTerms(ttlMs)
        expect(trustMs).toBeLessThan(ttlMs)
        expect(renewEveryMs).toBeLessThan(trustMs - marginMs)
      }),
    )
  })

  it('gives a living process at least a second to take its lock again', () => {
    expect(leaseTerms(1_500).goneMs).toBe(1_000)
  })
})

describe('howToTake', () => {
  it('takes what is free, and what is its own', () => {
    expect(judge([[0, record({ holder: null, holderGone: null })]])).toBe('released')
    expect(judge([[0, record({ holder: null, holderGone: null, epoch: 0n })]])).toBe('free')
    expect(judge([[0, record({ holder: self })]])).toBe('own')
  })

  it('leaves a holder alone until its record has not changed for the TTL', () => {
    expect(judge([[0, record()]])).toBe('not')
    expect(
      judge([
        [0, record()],
        [44_999, record()],
      ]),
    ).toBe('not')
    expect(
      judge([
        [0, record()],
        [45_000, record()],
      ]),
    ).toBe('expired')
    expect(
      judge([
        [0, record()],
        [44_000, record({ renewSeq: 8n })],
        [60_000, record({ renewSeq: 8n })],
      ]),
    ).toBe('not')
  })

  it('takes from a dead holder at the second poll in a row that found its lock free', () => {
    const gone = record({ holderGone: true })
    expect(judge([[0, gone]])).toBe('not')
    expect(
      judge([
        [0, gone],
        [5_000, gone],
      ]),
    ).toBe('dead')
  })

  it('does not count two polls that are too close, such as after a NOTIFY', () => {
    const gone = record({ holderGone: true })
    expect(
      judge([
        [0, gone],
        [50, gone],
      ]),
    ).toBe('not')
  })

  it('starts counting anew when the lock was held again, or the holder has renewed, in between', () => {
    const gone = record({ holderGone: true })
    expect(
      judge([
        [0, gone],
        [5_000, record()],
        [10_000, gone],
      ]),
    ).toBe('not')
    expect(
      judge([
        [0, gone],
        [5_000, record({ holderGone: true, renewSeq: 8n })],
      ]),
    ).toBe('not')
  })

  it('starts counting anew after a poll that failed, as in a restart of PostgreSQL', () => {
    const gone = record({ holderGone: true })
    const seen = doubt(observe(undefined, gone, 0))
    expect(howToTake(observe(seen, gone, 5_000), { self, mono: 5_000, terms })).toBeUndefined()
    expect(seen.unchangedSince).toBe(0)
  })

  it('takes nothing from a holder that renews and keeps its lock, whenever it is looked at', () => {
    const gaps = fc.array(fc.integer({ min: 1, max: 44_000 }), { minLength: 1, maxLength: 50 })
    fc.assert(
      fc.property(gaps, (gapsMs) => {
        let mono = 0
        const polls = gapsMs.map((gapMs, index) => {
          mono += gapMs
          return [mono, record({ renewSeq: BigInt(index) })] as const
        })
        expect(judge(polls)).toBe('not')
      }),
    )
  })
})
