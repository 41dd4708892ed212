/** Quotas in PostgreSQL, for who has no Redis: a transaction that locks the three counters. It needs no recount. */
import type { Database } from '../database/database.js'
import { deleteOldQuotas, deleteReservation, hasReservation, insertReservation, lockCounters } from './quota-store.js'
import { passedLimit, type Quotas } from './quotas.js'

export function createPostgresQuotas({ db }: { readonly db: Pick<Database, 'tx'> }): Quotas {
  return {
    reserve: (use, limits) =>
      db.tx(async (tx) => {
        const used = await lockCounters(tx, use)
        if (await hasReservation(tx, use)) return { granted: true, replay: true }
        const by = passedLimit(used, limits)
        if (by) return { granted: false, by, used: used[by] }
        // The first of its day: once a day is often enough.
        if (used.daily === 0) await deleteOldQuotas(tx, use.tenantId)
        await insertReservation(tx, use)
        return { granted: true, replay: false }
      }),
    release: (use) =>
      db.tx(async (tx) => {
        await lockCounters(tx, use)
        return deleteReservation(tx, use)
      }),
  }
}
