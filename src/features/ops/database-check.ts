/** Asks the database whether it works, at most once a second however often it is asked, and never waits for long. */
import type { Clock } from '../../kernel/clock.js'
import type { Database } from '../../platform/database/database.js'
import { isWritable } from './health-store.js'

export interface CheckResult {
  readonly status: 'healthy' | 'unhealthy'
  readonly durationMs: number
}

const VALID_MS = 1_000
const TIMEOUT_MS = 2_000

/** Never rejects. */
export type DatabaseCheck = (options?: { readonly fresh?: boolean }) => Promise<CheckResult>

export function createDatabaseCheck({ db, clock }: { db: Database; clock: Clock }): DatabaseCheck {
  let last: { readonly at: number; readonly result: Promise<CheckResult> } | undefined
  return ({ fresh = false } = {}) => {
    const now = clock.mono()
    if (!fresh && last && now - last.at < VALID_MS) return last.result
    last = { at: now, result: ask() }
    return last.result
  }

  async function ask(): Promise<CheckResult> {
    const startedAt = clock.mono()
    const timeout = new AbortController()
    const writable = isWritable(db).catch(() => false)
    const late = clock.sleep(TIMEOUT_MS, timeout.signal).then(
      () => false,
      () => false,
    )
    const healthy = await Promise.race([writable, late])
    timeout.abort()
    return { status: healthy ? 'healthy' : 'unhealthy', durationMs: Math.round(clock.mono() - startedAt) }
  }
}
