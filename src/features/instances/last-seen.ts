/** Writes when instances last showed life: for all of a process in one statement, seldom. */
import type { Clock } from '../../kernel/clock.js'
import type { InstanceId } from '../../kernel/ids.js'
import type { Database } from '../../platform/database/database.js'
import type { Lease } from '../../platform/leases/lease.js'
import { touchLastSeen } from './session-store.js'

export interface LastSeen {
  note(lease: Lease, instanceId: InstanceId): void
  /** Writes what was noted, if the last time was long enough ago. Rejects when the database does not answer. */
  flush(): Promise<void>
}

const EVERY_MS = 30_000

export function createLastSeen({ db, clock }: { readonly db: Database; readonly clock: Clock }): LastSeen {
  const noted = new Map<InstanceId, Lease>()
  let flushedAt = Number.NEGATIVE_INFINITY
  return {
    note(lease, instanceId) {
      noted.set(instanceId, lease)
    },
    async flush() {
      if (noted.size === 0 || clock.mono() - flushedAt < EVERY_MS) return
      flushedAt = clock.mono()
      const seen = [...noted].map(([instanceId, fence]) => ({ instanceId, fence }))
      noted.clear()
      await touchLastSeen(db, seen)
    },
  }
}
