import { describe, expect, it } from 'vitest'
import { explore, replay } from './explore.js'
import { mutants } from './model-session.js'
import { explorerTerms } from './world.js'

/** Fixed, so that the suite says the same each time; `run.ts` explores other seeds, at full size. */
const seed = 3

describe('the lease module', () => {
  it('holds in thousands of random schedules of faults', async () => {
    const { explored, violation } = await explore({ schedules: 3_000, seed })
    expect(violation).toBeUndefined()
    expect(explored).toBe(3_000)
  })
})

describe('the explorer', () => {
  it.each(mutants)('kills the mutant %s', async (mutant) => {
    const { violation } = await explore({ schedules: 20_000, seed, mutant })
    expect(violation?.what).toMatch(/stale epoch|used twice|went back/)
    expect(violation?.trace.length).toBeGreaterThan(3)
  })

  it('kills a holder that trusts itself for longer than the TTL', async () => {
    const terms = { ...explorerTerms, trustMs: 4 * explorerTerms.ttlMs }
    const { violation } = await explore({ schedules: 20_000, seed, terms })
    expect(violation?.what).toMatch(/processes trust their lease/)
  })

  it('kills a protocol in which nobody ever takes over', async () => {
    const terms = { ...explorerTerms, ttlMs: 1e7, goneMs: 1e9 }
    const { violation } = await explore({ schedules: 20_000, seed, terms })
    expect(violation?.what).toMatch(/nobody serves/)
  })

  it('repeats a schedule from its seed', async () => {
    const { violation } = await explore({ schedules: 20_000, seed, mutant: 'send_before_persist' })
    const again = await replay(violation?.scheduleSeed ?? 0, { mutant: 'send_before_persist' })
    expect(again).toEqual(violation)
  })
})
