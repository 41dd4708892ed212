/** How long the history of webhooks is kept, and the ticks that forget what is older. */
import { createIdGenerator } from '../../kernel/ids.js'
import type { Database } from '../../platform/database/database.js'
import { deleteSettledDeliveries } from './delivery-store.js'
import { forgetOldSecrets } from './endpoint-store.js'
import { deleteOldReplays } from './replay-store.js'

export const webhookRetention = {
  /** Deliveries and their attempts, after they were delivered, exhausted or dropped; longer while a dead letter waits for a person. */
  settledDeliveryDays: 30,
  /** Replays of a range, after their last step. */
  finishedReplayDays: 30,
} as const

const STEP = 2_000
const DAY_MS = 86_400_000

/** The tick `forget-deliveries`: in steps, so that a large backlog locks nothing for long. Resolves to how many went. */
export async function forgetDeliveries(db: Database, nowMs: number, signal: AbortSignal): Promise<number> {
  const { settledDeliveryDays, finishedReplayDays } = webhookRetention
  const before = new Date(nowMs - settledDeliveryDays * DAY_MS)
  // Ids grow with time: all deliveries that were made before then have smaller ones.
  const madeBefore = createIdGenerator(() => before.getTime()).next('dlv')
  let forgotten = 0
  for (let deleted = STEP; deleted === STEP && !signal.aborted; ) {
    deleted = await deleteSettledDeliveries(db, { madeBefore, settledBefore: before, limit: STEP })
    forgotten += deleted
  }
  await deleteOldReplays(db, finishedReplayDays)
  await forgetOldSecrets(db)
  return forgotten
}
