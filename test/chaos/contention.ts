/** Many takers of one lease at the same instant, each on a connection of its own, over and over. */
import { randomUUID } from 'node:crypto'
import sql from 'sql-template-tag'
import type { Database } from '../../src/platform/database/database.js'
import { migrate } from '../../src/platform/database/migrate.js'
import { createPostgres } from '../../src/platform/database/postgres.js'
import type { Incarnation, Resource } from '../../src/platform/leases/lease.js'
import { createLeaseStore } from '../../src/platform/leases/lease-store.js'
import type { LeaseStore } from '../../src/platform/leases/lease-store.port.js'
import { startCluster } from '../support/cluster.js'

export interface ContentionVerdict {
  readonly takes: number
  readonly won: number
  /** Epochs that two takers were told they have. */
  readonly sharedEpochs: number
  /** Rounds in which all saw the same free record, and not exactly one took it. */
  readonly roundsWithoutOneWinner: number
  /** Resources whose row does not name the winner of its last epoch. */
  readonly wrongHolders: number
}

export interface ContentionOptions {
  readonly takers: number
  readonly rounds: number
  /** The store to be tried. Default: the product's. */
  readonly makeStore?: (db: Database) => LeaseStore
}

const HOLDS_UP = { connectMs: 60_000, statementMs: 30_000, lockMs: 30_000, idleInTransactionMs: 30_000 }

/**
 * A round has two rushes at one resource: first all take what all have seen, then each looks for itself and takes what it saw,
 * so that some see the winner of a moment ago.
 */
export async function contend({ takers, rounds, makeStore }: ContentionOptions): Promise<ContentionVerdict> {
  const cluster = await startCluster({ settings: { max_connections: String(takers + 20) } })
  try {
    await migrate(cluster.url)
    const options = { url: cluster.url, max: takers, applicationName: 'mirante takers', timeouts: HOLDS_UP }
    const db = createPostgres({ ...options, onError: () => {} })
    const store = makeStore?.(db) ?? createLeaseStore(db, { advisoryLocks: true })
    try {
      return await rush(db, store, { takers, rounds })
    } finally {
      await db.close()
    }
  } finally {
    await cluster.stop()
  }
}

async function rush(
  db: Database,
  store: LeaseStore,
  { takers, rounds }: ContentionOptions,
): Promise<ContentionVerdict> {
  const holders = Array.from({ length: takers }, () => randomUUID() as Incarnation)
  let [won, sharedEpochs, roundsWithoutOneWinner, wrongHolders] = [0, 0, 0, 0]
  for (let round = 1; round <= rounds; round++) {
    const resource = `test:${round}` as Resource
    const winners = new Map<bigint, Incarnation>()
    const take = async (holder: Incarnation, seen: { epoch: bigint; renewSeq: bigint }): Promise<boolean> => {
      const observed = { seenEpoch: seen.epoch, seenRenewSeq: seen.renewSeq }
      const epoch = await store.take({ resource, holder, token: randomUUID(), ...observed, how: 'free' })
      if (epoch === undefined) return false
      if (winners.has(epoch)) sharedEpochs += 1
      winners.set(epoch, holder)
      return true
    }
    const seen = await look(store, resource)
    const first = await Promise.all(holders.map((holder) => take(holder, seen)))
    if (first.filter(Boolean).length !== 1) roundsWithoutOneWinner += 1
    await Promise.all(holders.map(async (holder) => take(holder, await look(store, resource))))
    const [row] = await db.query<{ holder: string; epoch: bigint }>(
      sql`select holder, epoch from lease where resource = ${resource}`,
    )
    if (!row || winners.get(row.epoch) !== row.holder) wrongHolders += 1
    won += winners.size
  }
  return { takes: 2 * takers * rounds, won, sharedEpochs, roundsWithoutOneWinner, wrongHolders }
}

async function look(store: LeaseStore, resource: Resource) {
  const [record] = await store.poll([resource])
  if (!record) throw new Error(`no record of ${resource}`)
  return record
}

/** The control: looks whether it is free, and then writes, as two statements. */
export function lookThenWrite(db: Database): LeaseStore {
  return {
    ...createLeaseStore(db, { advisoryLocks: true }),
    async take({ resource, holder, token, seenEpoch }) {
      const [row] = await db.query<{ epoch: bigint }>(sql`select epoch from lease where resource = ${resource}`)
      if (row?.epoch !== seenEpoch) return undefined
      await db.execute(sql`
        update lease set holder = ${holder}, token = ${token}, epoch = ${seenEpoch + 1n}, renew_seq = renew_seq + 1
        where resource = ${resource}`)
      return seenEpoch + 1n
    },
  }
}
