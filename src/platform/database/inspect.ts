/** A look at a database from outside, for a person: what it is, what it has room for, which schema it holds. Changes nothing. */
import pg from 'pg'
import sql from 'sql-template-tag'
import { systemClock } from '../../kernel/clock.js'
import type { Queryable } from './database.js'
import { heldLocks } from './held-locks.js'
import { oldestWorkingCode, schemaVersion } from './migrate.js'
import { clientConfig, requestTimeouts, run } from './postgres-client.js'
import { findPrimaryUrl } from './postgres-primary.js'

export interface DatabaseFacts {
  /** `18.1` */
  readonly version: string
  /** `180001` */
  readonly versionNumber: number
  /** A standby, or a database that was set read-only. */
  readonly readOnly: boolean
  /** What a user without privileges may take. */
  readonly connectionLimit: number
  /** Taken now by others than the Mirantes of this database. */
  readonly foreignConnections: number
  /** Replicas of Mirante that are alive. */
  readonly replicas: number
  /** How far this machine's clock is ahead of the database's. */
  readonly clockAheadMs: number
  /** The skew cannot be known better than this. */
  readonly roundTripMs: number
  /** 0: empty. */
  readonly schemaVersion: number
  /** The oldest schema whose code works with this one. */
  readonly oldestWorkingCode: number
}

/** Rejects with what PostgreSQL or the connection says; `isDatabaseUnavailable` tells which. */
export async function inspectDatabase(url: string): Promise<DatabaseFacts> {
  const primaryUrl = await findPrimaryUrl(url, { clock: systemClock, random: Math.random })
  const client = new pg.Client(
    clientConfig({ url: primaryUrl, applicationName: 'mirante doctor', role: null, timeouts: requestTimeouts }),
  )
  client.on('error', () => {})
  await client.connect()
  try {
    const db: Queryable = {
      query: async <Row>(statement: Parameters<Queryable['query']>[0]) => (await run(client, statement)).rows as Row[],
      execute: async (statement) => (await run(client, statement)).rowCount ?? 0,
    }
    const schema = await schemaVersion(db)
    return {
      ...(await readServer(db)),
      ...(await readClock(db)),
      schemaVersion: schema,
      oldestWorkingCode: await oldestWorkingCode(db),
      replicas: schema === 0 ? 0 : await countReplicas(db),
    }
  } finally {
    await client.end()
  }
}

type ServerFacts = Pick<
  DatabaseFacts,
  'version' | 'versionNumber' | 'readOnly' | 'connectionLimit' | 'foreignConnections'
>

/** `reserved_connections` exists from PostgreSQL 16 on. */
async function readServer(db: Queryable): Promise<ServerFacts> {
  const [row] = await db.query<ServerFacts>(sql`
    select split_part(current_setting('server_version'), ' ', 1) as "version",
      current_setting('server_version_num')::int as "versionNumber",
      pg_is_in_recovery() or current_setting('default_transaction_read_only') = 'on' as "readOnly",
      current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
        - coalesce(current_setting('reserved_connections', true), '0')::int as "connectionLimit",
      (select count(*)::int from pg_stat_activity
        where backend_type = 'client backend'
          and not (application_name like 'mirante %' and datname = current_database())) as "foreignConnections"`)
  if (!row) throw new Error('the database did not say what it is')
  return row
}

async function readClock(db: Queryable): Promise<Pick<DatabaseFacts, 'clockAheadMs' | 'roundTripMs'>> {
  const before = Date.now()
  const [row] = await db.query<{ now: Date }>(sql`select clock_timestamp() as now`)
  const after = Date.now()
  return {
    clockAheadMs: Math.round((before + after) / 2 - (row?.now.getTime() ?? before)),
    roundTripMs: after - before,
  }
}

async function countReplicas(db: Queryable): Promise<number> {
  const [row] = await db.query<{ count: number }>(sql`
    select count(distinct replica)::int as count from process
    where incarnation_lock in (${heldLocks})`)
  return row?.count ?? 0
}
