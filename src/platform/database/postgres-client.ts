/** How every connection to PostgreSQL is configured, and what its values become in JavaScript. */
import pg from 'pg'
import type { Sql } from 'sql-template-tag'

export interface SessionTimeouts {
  /** For a connection to open, or to become free in the pool; then the caller hears that the database does not answer. */
  readonly connectMs: number
  /** A statement that runs longer is cancelled (57014). 0: never. */
  readonly statementMs: number
  /** A statement that waits longer for a lock fails (55P03). 0: never. */
  readonly lockMs: number
  /** A transaction left open and idle longer loses its connection, so a stalled process cannot hold row locks. 0: never. */
  readonly idleInTransactionMs: number
}

/** A stalled holder of a lease must never keep others waiting for longer than a few seconds. */
export const requestTimeouts: SessionTimeouts = {
  connectMs: 10_000,
  statementMs: 3_000,
  lockMs: 2_000,
  idleInTransactionMs: 3_000,
}

/** For migrations and other work of a person: a statement may take its time, but not wait for a lock for ever. */
export const maintenanceTimeouts: SessionTimeouts = {
  connectMs: 10_000,
  statementMs: 0,
  lockMs: 60_000,
  idleInTransactionMs: 60_000,
}

export interface ClientOptions {
  readonly url: string
  readonly applicationName: string
  /** Role that statements run as; null keeps the role that logged in. */
  readonly role: string | null
  readonly timeouts: SessionTimeouts
}

/** Added to the server's own limit: past it the server is taken for unreachable and the connection is dropped. */
const ANSWER_MARGIN_MS = 2_000
const KEEPALIVE_MS = 10_000

export function clientConfig({ url, applicationName, role, timeouts }: ClientOptions): pg.ClientConfig {
  const { connectionString, options } = splitOptions(url)
  const settings: readonly (readonly [string, string | number | null])[] = [
    ['role', role],
    ['statement_timeout', timeouts.statementMs],
    ['lock_timeout', timeouts.lockMs],
    ['idle_in_transaction_session_timeout', timeouts.idleInTransactionMs],
    // Our statements touch a few rows by their keys, however large the table. Left to choose, the planner reads a whole table
    // or index: a plan of yesterday's size, kept by a named statement, or misled by keys that all lie at the end (a claim
    // among 100,000 lanes took 250 ms instead of 3). Hash joins stay: batches join each other.
    ['enable_seqscan', 'off'],
    ['enable_mergejoin', 'off'],
    // Compiling takes longer than any statement of ours may.
    ['jit', 'off'],
    // The server lets go of what a vanished client held (advisory locks, row locks) within half a minute.
    ['tcp_keepalives_idle', 15],
    ['tcp_keepalives_interval', 5],
    ['tcp_keepalives_count', 3],
    // Keepalives are not sent while an answer waits to be acknowledged: there the kernel would go on for a quarter of an hour.
    ['tcp_user_timeout', 30_000],
  ]
  const given = settings.flatMap(([name, value]) => (value === null ? [] : [`-c ${name}=${value}`]))
  return {
    connectionString,
    application_name: applicationName,
    options: [options, ...given].filter(Boolean).join(' '),
    connectionTimeoutMillis: timeouts.connectMs,
    ...(timeouts.statementMs > 0 ? { query_timeout: timeouts.statementMs + ANSWER_MARGIN_MS } : {}),
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEPALIVE_MS,
    types: { getTypeParser: typeParser as typeof pg.types.getTypeParser },
  }
}

/** Runs one statement; `name` makes it a prepared one. */
export function run(client: pg.ClientBase, { text, values }: Sql, name?: string): Promise<pg.QueryResult> {
  return client.query(name === undefined ? { text, values } : { name, text, values })
}

/** `pg` would let `?options=` of the URL replace ours, so they are taken out and put before ours. */
function splitOptions(url: string): { connectionString: string; options: string } {
  if (!URL.canParse(url))
    throw new TypeError('the database URL is not a URL like postgres://user:password@host/database')
  const parsed = new URL(url)
  const options = parsed.searchParams.get('options')
  if (options === null) return { connectionString: url, options: '' }
  parsed.searchParams.delete('options')
  return { connectionString: parsed.href, options }
}

type Parse = (text: string) => unknown

const INT8_ARRAY = 1016

const parsers: ReadonlyMap<number, Parse> = new Map<number, Parse>([
  [pg.types.builtins.INT8, BigInt],
  [INT8_ARRAY, parseInt8Array],
  // A date has no time and no zone: `pg` would make it midnight of wherever this process runs.
  [pg.types.builtins.DATE, (text) => text],
])

function typeParser(oid: number, format?: 'text' | 'binary'): unknown {
  const ours = format === 'binary' ? undefined : parsers.get(oid)
  return ours ?? pg.types.getTypeParser(oid, format as 'text')
}

function parseInt8Array(text: string): (bigint | null)[] {
  // `pg` knows this type; its declarations do not.
  const parse = pg.types.getTypeParser(INT8_ARRAY as number, 'text') as (text: string) => (string | null)[]
  return parse(text).map((item) => (item === null ? null : BigInt(item)))
}
