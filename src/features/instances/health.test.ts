import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { diagnose, defaultHealthPolicy as policy } from './health.js'

describe('the health of a connection', () => {
  it('is that of a zombie when it is open and no frame came for too long', () => {
    const vitals = { phase: 'open', phaseSince: 0, lastAlive: 1_000 } as const
    expect(diagnose(vitals, 1_000 + policy.silentAfterMs, policy)).toBeNull()
    expect(diagnose(vitals, 1_001 + policy.silentAfterMs, policy)).toBe('ZOMBIE')
  })

  it('is stuck when it loads, or begins, for too long', () => {
    const loading = { phase: 'loading', phaseSince: 0, lastAlive: 0 } as const
    expect(diagnose(loading, policy.loadingStuckAfterMs + 1, policy)).toBe('LOADING_STUCK')
    const connecting = { phase: 'connecting', phaseSince: 0, lastAlive: 0 } as const
    expect(diagnose(connecting, policy.initializingStuckAfterMs + 1, policy)).toBe('INITIALIZING_STUCK')
  })

  it('is never judged by time while a QR waits for a person', () => {
    fc.assert(
      fc.property(fc.nat(), (nowMs) => {
        expect(diagnose({ phase: 'qr', phaseSince: 0, lastAlive: 0 }, nowMs, policy)).toBeNull()
      }),
    )
  })
})
