/** Looks at what this process depends on: at most once a second however often it is asked, and for a few seconds at most. */
import type { Clock } from '../../kernel/clock.js'
import type { Dependency, DependencyReport } from '../../kernel/dependency.js'

export interface DependencyChecks {
  /** All of them, in their order. Never rejects. */
  check(): Promise<readonly DependencyReport[]>
  /**
   * What the last look brought, at once, so that a server which hangs cannot hold up a probe; empty before the first one.
   * Looks again in the background when that was some seconds ago.
   */
  known(): readonly DependencyReport[]
}

const VALID_MS = 1_000
const STALE_MS = 5_000
/** A check ends by itself within about two seconds; one that does not is broken. */
const PATIENCE_MS = 3_000

export function createDependencyChecks(deps: {
  readonly dependencies: readonly Dependency[]
  readonly clock: Clock
}): DependencyChecks {
  const { dependencies, clock } = deps
  let last: { readonly at: number; readonly reports: Promise<readonly DependencyReport[]> } | undefined
  let latest: readonly DependencyReport[] = []

  return {
    check: () => checkUnlessWithin(VALID_MS),
    known() {
      void checkUnlessWithin(STALE_MS)
      return latest
    },
  }

  function checkUnlessWithin(ms: number): Promise<readonly DependencyReport[]> {
    const now = clock.mono()
    if (last && now - last.at < ms) return last.reports
    const reports = Promise.all(dependencies.map(checkInTime)).then((found) => {
      latest = found
      return found
    })
    last = { at: now, reports }
    return reports
  }

  async function checkInTime(dependency: Dependency): Promise<DependencyReport> {
    const over = new AbortController()
    const late = clock.sleep(PATIENCE_MS, over.signal).then(
      () => silent(dependency),
      () => silent(dependency),
    )
    const report = await Promise.race([dependency.check().catch(() => silent(dependency)), late])
    over.abort()
    return report
  }
}

const silent = ({ name }: Dependency): DependencyReport => ({
  name,
  status: 'down',
  meanwhile: 'Mirante works on without it, as far as that goes.',
  latencyMs: null,
  version: null,
  problems: [
    {
      code: 'unreachable',
      found: `It does not answer within ${PATIENCE_MS / 1_000} s.`,
      action: 'Look at its server, and at the network between.',
    },
  ],
})
