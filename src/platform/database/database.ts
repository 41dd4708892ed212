/**
 * The database port. One dialect, PostgreSQL ≥ 15, whether it is a server or the one that Mirante starts itself.
 * Statements are written with `sql` from sql-template-tag and live in `*-store.ts` files only.
 *
 * Two roles: what runs outside a request (migrations aside) runs as `mirante_system`, which sees every tenant and therefore
 * names the tenant in every predicate; a request that reads or changes tenant data runs in `tenantTx`, as
 * `mirante_tenant`, for which row-level security shows one tenant only.
 */
import type { Sql } from 'sql-template-tag'
import type { TenantId } from '../../kernel/ids.js'

/** A statement, or a part of one. */
export type Statement = Sql

export interface Queryable {
  /** Runs one statement and returns its rows. `name` makes it a prepared statement: one text per name, always. */
  query<Row>(statement: Sql, name?: string): Promise<Row[]>
  /** Runs one statement and returns how many rows it touched. */
  execute(statement: Sql, name?: string): Promise<number>
}

declare const inTransaction: unique symbol
/** A transaction in progress. Only short work: nothing but SQL may be awaited inside. */
export interface Tx extends Queryable {
  readonly [inTransaction]?: true
}

export interface Notification {
  readonly channel: string
  readonly payload: string
}

export interface Database extends Queryable {
  /** Runs `work` in a transaction as `mirante_system`; commits when it resolves, rolls back when it throws. */
  tx<Result>(work: (tx: Tx) => Promise<Result>): Promise<Result>
  /** The same as `mirante_tenant` of this tenant. */
  tenantTx<Result>(tenantId: TenantId, work: (tx: Tx) => Promise<Result>): Promise<Result>
  /**
   * Calls `onNotify` for each NOTIFY on the channel, from one dedicated session that reconnects for ever. After every
   * (re)connect it calls `onReady`, because notifications may have been missed: look at the tables again.
   * Resolves to a function that stops listening.
   */
  listen(channel: string, onNotify: (payload: string) => void, onReady?: () => void): Promise<() => Promise<void>>
  /**
   * A dedicated session for as long as it lives, for session-level advisory locks. `onLost` is called once when the session
   * ends without `release`.
   */
  session(onLost: (error: Error) => void): Promise<DedicatedSession>
  close(): Promise<void>
}

export interface DedicatedSession extends Queryable {
  release(): Promise<void>
}

/** SQLSTATE of a failed statement, or undefined when the error did not come from PostgreSQL. */
export function sqlState(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code
  // Node's own codes are words (`EPIPE` among them); every class of SQLSTATE that PostgreSQL uses has a digit in it.
  return typeof code === 'string' && /^(?=.*\d)[0-9A-Z]{5}$/.test(code) ? code : undefined
}

/** Whether PostgreSQL took a look at the values and refused one (SQLSTATE 22 data, 23 constraint): nothing was written. */
export function isValueRefused(error: unknown): boolean {
  return /^2[23]/.test(sqlState(error) ?? '')
}

const UNREACHABLE = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ECONNABORTED',
  'EPIPE',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  // The folder of a Unix socket is there, the socket is not.
  'ENOENT',
  // A statement was given to a connection at the very moment at which it broke.
  'ERR_STREAM_DESTROYED',
  'ERR_STREAM_WRITE_AFTER_END',
  // None of several hosts takes writes now.
  'NO_PRIMARY',
])

/** What `pg` says, without a code, when a connection breaks, hangs, or cannot be had from the pool. */
const DRIVER_WORDS =
  /Connection terminated|timeout exceeded when trying to connect|timeout expired|Query read timeout|is not queryable/

/** Whether the error says that the database cannot be reached (or is starting, stopping, out of connections). */
export function isDatabaseUnavailable(error: unknown): boolean {
  const state = sqlState(error)
  // 08 connection, 57P0x shutdown or starting up, 53300 too many connections, 25006 read-only (a standby answers)
  if (state) return state.startsWith('08') || state.startsWith('57P0') || state === '53300' || state === '25006'
  const code = (error as { code?: unknown } | null)?.code
  if (typeof code === 'string') return UNREACHABLE.has(code)
  return error instanceof Error && DRIVER_WORDS.test(error.message)
}
