/** Applies receipts that the journal kept and whose session ended before it could: no status is lost in a crash. */
import type { IdGenerator, InstanceId } from '../../kernel/ids.js'
import type { Database } from '../../platform/database/database.js'
import { unappliedReceipts } from './receipt-store.js'
import { applyKept } from './receive-receipts.js'

const BATCH = 200

/** Needs no lease: a status only moves forward, whoever moves it. Resolves to how many receipts were applied. */
export async function sweepReceipts(
  { db, ids }: { readonly db: Database; readonly ids: IdGenerator },
  where: { readonly olderThanMs: number; readonly instanceId?: InstanceId },
): Promise<number> {
  for (let applied = 0; ; ) {
    const receipts = await unappliedReceipts(db, { ...where, limit: BATCH })
    if (receipts.length > 0) await db.tx((tx) => applyKept(tx, { ids, fence: null }, receipts))
    applied += receipts.length
    if (receipts.length < BATCH) return applied
  }
}
