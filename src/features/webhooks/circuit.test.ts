import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createIdGenerator } from '../../kernel/ids.js'
import { circuitPolicy, createTryCounter, isHopeless } from './circuit.js'

const ids = createIdGenerator()
const DAY_MS = 86_400_000
const nowMs = Date.UTC(2026, 10, 21)

function setUp() {
  let now = 1_000
  const counter = createTryCounter({ mono: () => now })
  const advance = (ms: number): void => {
    now += ms
  }
  return { counter, endpoint: ids.next('whe'), advance }
}

describe('a circuit is to be opened', () => {
  it('at the tenth failure in a row', () => {
    const { counter, endpoint } = setUp()
    const opened = Array.from({ length: 10 }, () => counter.count(endpoint, false))
    expect(opened).toEqual([...Array.from({ length: 9 }, () => false), true])
  })

  it('not for failures that are spread over more than the window', () => {
    const { counter, endpoint, advance } = setUp()
    for (let n = 0; n < 100; n++) {
      expect(counter.count(endpoint, false)).toBe(false)
      advance(circuitPolicy.windowMs / (circuitPolicy.minTries - 2))
    }
  })

  it('for what was seen of that endpoint, not of others', () => {
    const { counter, endpoint } = setUp()
    for (let n = 0; n < 9; n++) counter.count(endpoint, false)
    for (let n = 0; n < 9; n++) expect(counter.count(ids.next('whe'), false)).toBe(false)
    expect(counter.count(endpoint, false)).toBe(true)
  })

  it('exactly when ten tries or more within the window were bad to seven tenths', () => {
    fc.assert(
      fc.property(fc.array(fc.boolean(), { maxLength: 60 }), (tries) => {
        const { counter, endpoint } = setUp()
        let [good, bad] = [0, 0]
        for (const succeeded of tries) {
          if (succeeded) good += 1
          else bad += 1
          const expected = !succeeded && good + bad >= 10 && bad >= 0.7 * (good + bad)
          expect(counter.count(endpoint, succeeded)).toBe(expected)
          if (expected) [good, bad] = [0, 0]
        }
      }),
    )
  })
})

describe('an endpoint is given up', () => {
  const failing = (days: number, failureCount: number) => ({
    failingSince: new Date(nowMs - days * DAY_MS),
    failureCount,
  })

  it('after five days and ten failures without a success, and not for either alone', () => {
    expect(isHopeless(failing(5, 10), nowMs)).toBe(true)
    expect(isHopeless(failing(4.9, 10_000), nowMs)).toBe(false)
    expect(isHopeless(failing(50, 9), nowMs)).toBe(false)
  })
})
