/**
 * The database over `pg`. Values: bigint columns are JavaScript bigints, timestamptz is Date, json is parsed, numeric and
 * date stay text.
 *
 * Promises: nothing is retried here. A statement whose connection broke may or may not have taken effect, and only the
 * caller knows whether it may run twice; it gets an error that `isDatabaseUnavailable` recognises. A broken connection
 * never crashes the process and is never reused, and neither is one to a server that has ceased to be the primary.
 */
import type pg from 'pg'
import type { Sql } from 'sql-template-tag'
import { type Clock, systemClock } from '../../kernel/clock.js'
import type { TenantId } from '../../kernel/ids.js'
import type { Random } from '../../kernel/random.js'
import { type Database, isDatabaseUnavailable, type Queryable, sqlState, type Tx } from './database.js'
import type { DatabaseHost } from './database-url.js'
import { clientConfig, requestTimeouts, run, type SessionTimeouts } from './postgres-client.js'
import { createListener } from './postgres-listener.js'
import { createPools } from './postgres-pools.js'
import { followPrimary } from './postgres-primary.js'
import { openSession, type PostgresSession, type SessionOptions } from './postgres-session.js'

export interface PostgresOptions {
  /** With several hosts (database-url.ts), everything goes to the one that is the primary, wherever that moves. */
  readonly url: string
  /** Connections in the pool; `listen` takes one more and each `session` another. */
  readonly max: number
  readonly applicationName: string
  /** Hears of connections that broke while nobody was waiting on them. */
  readonly onError: (error: Error) => void
  /** Default: `mirante_system`. Null keeps the role that logged in: for migrations and tests. */
  readonly systemRole?: string | null
  readonly timeouts?: SessionTimeouts
  readonly clock?: Clock
  readonly random?: Random
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

export function createPostgres(options: PostgresOptions): Database {
  const { url, max, applicationName, onError, systemRole = 'mirante_system', timeouts = requestTimeouts } = options
  const { clock = systemClock, random = Math.random } = options
  const sessions = new Set<PostgresSession>()
  const primary = followPrimary({ url, applicationName, waitMs: timeouts.connectMs, clock, random, onMoved })
  const pools = createPools({
    configOf: (host) => ({ ...configOf(host), max, idleTimeoutMillis: 30_000 }),
    primary,
    onError,
  })
  const listener = createListener({
    open: (onLost, onNotify) => startSession({ onLost, onNotify }),
    clock,
    random,
    onError,
  })
  let closing: Promise<void> | undefined

  return {
    query: async <Row>(statement: Sql, name?: string) =>
      (await withClient((client) => run(client, statement, name))).rows as Row[],
    execute: async (statement, name) => (await withClient((client) => run(client, statement, name))).rowCount ?? 0,
    tx: (work) => withClient((client) => transaction(client, 'BEGIN', work)),
    tenantTx: (tenantId, work) => withClient((client) => transaction(client, beginAsTenant(tenantId), work)),
    listen: listener.listen,
    session: (onLost) => startSession({ onLost }),
    close() {
      closing ??= closeAll()
      return closing
    },
  }

  function configOf(host: DatabaseHost): pg.ClientConfig {
    return clientConfig({ url: host.url, applicationName, role: systemRole, timeouts })
  }

  /** All sessions are at the primary: they end when it moves. */
  async function startSession({
    onLost,
    onNotify,
  }: Pick<SessionOptions, 'onLost' | 'onNotify'>): Promise<PostgresSession> {
    const host = await primary.find()
    const opened = await openSession({
      config: configOf(host),
      clock,
      confirm: (client) => primary.confirm(client, host),
      onLost(error) {
        sessions.delete(session)
        primary.suspect()
        onLost(error)
      },
      ...(onNotify && { onNotify }),
    })
    const session = {
      ...opened,
      async release() {
        sessions.delete(session)
        await opened.release()
      },
    }
    sessions.add(session)
    return session
  }

  function onMoved(host: DatabaseHost): void {
    const error = new Error(`Connection terminated: the primary is ${host.place} now`)
    onError(error)
    pools.moveTo(host)
    for (const session of sessions) session.breakOff(error)
  }

  async function closeAll(): Promise<void> {
    await listener.stop()
    await Promise.all([...sessions].map((session) => session.release()))
    await primary.stop()
    await pools.close()
  }

  /** A client that may be in an unknown state is destroyed instead of going back to the pool. */
  async function withClient<Result>(work: (client: pg.PoolClient) => Promise<Result>): Promise<Result> {
    const client = await connect()
    let broken = false
    try {
      const result = await work(client)
      if (pools.isInDoubt(client)) throw new Error('Connection terminated: no standby has confirmed the commit')
      return result
    } catch (error) {
      broken = isClientSpoiled(error)
      if (isDatabaseUnavailable(error)) primary.suspect()
      throw error
    } finally {
      client.release(broken)
    }
  }

  async function connect(): Promise<pg.PoolClient> {
    try {
      return await pools.connect()
    } catch (error) {
      primary.suspect()
      throw error
    }
  }
}

async function transaction<Result>(
  client: pg.PoolClient,
  begin: string,
  work: (tx: Tx) => Promise<Result>,
): Promise<Result> {
  let open = true
  try {
    await client.query(begin)
    const result = await work(queryable(client, () => open))
    open = false
    const { command } = await client.query('COMMIT')
    // PostgreSQL answers COMMIT of a failed transaction with ROLLBACK and no error: `work` swallowed a failed statement.
    if (command !== 'COMMIT') throw new Error('the transaction was rolled back: a statement in it had failed')
    return result
  } catch (error) {
    open = false
    if (!isClientSpoiled(error)) await rollback(client, error)
    throw error
  }
}

/** A client that cannot roll back is spoiled too, which the error that is thrown instead says. */
async function rollback(client: pg.PoolClient, cause: unknown): Promise<void> {
  try {
    await client.query('ROLLBACK')
  } catch {
    throw new Error('Connection terminated: a rollback failed', { cause })
  }
}

function queryable(client: pg.ClientBase, isOpen: () => boolean): Queryable {
  const runWhileOpen = (statement: Sql, name?: string) => {
    // After the end the client may already belong to another caller: running there would be in the wrong transaction.
    if (!isOpen()) throw new Error('the transaction has ended: await every statement inside it')
    return run(client, statement, name)
  }
  return {
    query: async <Row>(statement: Sql, name?: string) => (await runWhileOpen(statement, name)).rows as Row[],
    execute: async (statement, name) => (await runWhileOpen(statement, name)).rowCount ?? 0,
  }
}

/** One round trip: transaction, role and tenant. Both settings are local: they end with the transaction. */
function beginAsTenant(tenantId: TenantId): string {
  if (!UUID.test(tenantId)) throw new TypeError('not a tenant id')
  return `BEGIN; SET LOCAL ROLE mirante_tenant; SELECT set_config('app.tenant', '${tenantId}', true)`
}

const SPOILING = new Set(['0A000', '26000', '25006'])

/** Whether the client must not be used again: the connection broke or is in doubt, or its prepared statements are stale. */
function isClientSpoiled(error: unknown): boolean {
  const severity = (error as { severity?: unknown } | null)?.severity
  if (severity === 'FATAL' || severity === 'PANIC') return true
  const state = sqlState(error)
  // 0A000: "cached plan must not change result type", after a migration; 26000: the prepared statement is gone; 25006: what
  // answers takes no writes any more.
  if (state) return state.startsWith('08') || SPOILING.has(state)
  return error instanceof Error && isFromDriver(error)
}

/** Errors without SQLSTATE: sockets and `pg` itself. The work's own errors must not cost a connection. */
function isFromDriver(error: Error): boolean {
  return (
    'errno' in error ||
    /^Connection terminated|^Query read timeout|connection error and is not queryable/.test(error.message)
  )
}
