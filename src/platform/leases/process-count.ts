import type { Clock } from '../../kernel/clock.js'
import type { Queryable } from '../database/database.js'
import { countLivingProcesses } from './process-count-store.js'

/** A replica that comes or goes is counted after as long. */
const LOOK_EVERY_MS = 10_000

/** How many processes of this role live, this one among them, as the database said lately. Looks when it is asked. */
export function createProcessCount(options: {
  readonly db: Queryable
  readonly role: string
  readonly clock: Pick<Clock, 'mono'>
}): () => number {
  const { db, role, clock } = options
  let count = 1
  let askedAt = Number.NEGATIVE_INFINITY
  return () => {
    if (clock.mono() - askedAt >= LOOK_EVERY_MS) {
      askedAt = clock.mono()
      countLivingProcesses(db, role).then(
        (living) => {
          count = Math.max(1, living)
        },
        // Then the last count is as good as any.
        () => {},
      )
    }
    return count
  }
}
