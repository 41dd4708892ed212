import { describe, expect, it } from 'vitest'
import { createStanzaTrace } from './stanza-trace.js'

const SEEN = { at: 1, direction: 'in', connection: 1, account: null, device: null } as const

describe('the stanza trace', () => {
  it('forgets the oldest when it is full, and keeps counting', () => {
    const trace = createStanzaTrace(3)
    for (let n = 1; n <= 5; n++) trace.record(SEEN, { tag: `stanza-${n}`, attrs: {} })
    expect(trace.read().map(({ n, tag }) => [n, tag])).toEqual([
      [3, 'stanza-3'],
      [4, 'stanza-4'],
      [5, 'stanza-5'],
    ])
    expect(trace.read({ after: 4 })).toHaveLength(1)
    trace.clear()
    expect(trace.read()).toEqual([])
    trace.record(SEEN, { tag: 'next', attrs: {} })
    expect(trace.read()[0]?.n).toBe(6)
  })
})
