/**
 * The port for reads that may be a moment old: lists, searches, stories. Where there is a read replica they may be answered by
 * it. A tenant sees what it has changed through this process; of what happened elsewhere it may miss the last moment.
 */
import type { TenantId } from '../../kernel/ids.js'
import type { Database, Queryable, Tx } from './database.js'

export interface Reader {
  /** As `mirante_tenant`, in one transaction. `work` only reads, and is run again on the primary when it fails elsewhere. */
  tenantTx<Result>(tenantId: TenantId, work: (tx: Tx) => Promise<Result>): Promise<Result>
  /** The same as `mirante_system`, for one tenant: it is named in every predicate. */
  asSystem<Result>(tenantId: TenantId, work: (db: Queryable) => Promise<Result>): Promise<Result>
}

/** Everything is read from this database. */
export const readerOf = (db: Database): Reader => ({
  tenantTx: (tenantId, work) => db.tenantTx(tenantId, work),
  asSystem: (_tenantId, work) => work(db),
})
