/**
 * One dedicated connection for as long as it lives. A session that breaks says so once and is over; a broken network is
 * noticed by a heartbeat, since a session that only holds a lock never sends anything by itself.
 */
import pg from 'pg'
import type { Sql } from 'sql-template-tag'
import type { Clock } from '../../kernel/clock.js'
import type { DedicatedSession, Notification } from './database.js'
import { run } from './postgres-client.js'

export interface PostgresSession extends DedicatedSession {
  /** LISTEN or UNLISTEN: commands that take no parameters. */
  command(text: string): Promise<void>
  /** Ends it as if it had broken. */
  breakOff(error: Error): void
}

export interface SessionOptions {
  readonly config: pg.ClientConfig
  readonly clock: Clock
  readonly onLost: (error: Error) => void
  readonly onNotify?: (notification: Notification) => void
  /** A rejection means that the connection leads to the wrong server: then there is no session. */
  readonly confirm?: (client: pg.Client) => Promise<void>
}

const HEARTBEAT_MS = 15_000

export async function openSession({
  config,
  clock,
  onLost,
  onNotify,
  confirm = async () => {},
}: SessionOptions): Promise<PostgresSession> {
  const client = new pg.Client(config)
  const over = new AbortController()
  client.on('error', lost)
  client.on('end', () => lost(new Error('Connection terminated unexpectedly')))
  client.on('notification', ({ channel, payload = '' }) => onNotify?.({ channel, payload }))
  let connected = false
  let lastTurn: Promise<unknown> = Promise.resolve()
  await client.connect()
  await confirm(client).catch((error: unknown) => {
    void client.end().catch(() => {})
    throw error
  })
  connected = true
  void heartbeat()

  return {
    query: async <Row>(statement: Sql, name?: string) =>
      (await inTurn(() => run(client, statement, name))).rows as Row[],
    execute: async (statement, name) => (await inTurn(() => run(client, statement, name))).rowCount ?? 0,
    async command(text) {
      await inTurn(() => client.query(text))
    },
    breakOff: lost,
    async release() {
      if (over.signal.aborted) return
      over.abort()
      await client.end()
    },
  }

  /** One statement after another: `pg` will refuse a second one while the first is under way. */
  function inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
    const result = lastTurn.then(work)
    lastTurn = result.catch(() => undefined)
    return result
  }

  function lost(error: Error): void {
    if (!connected || over.signal.aborted) return
    over.abort()
    // Not awaited: `end` waits for an answer that a dead connection never gives.
    void client.end().catch(() => {})
    onLost(error)
  }

  async function heartbeat(): Promise<void> {
    try {
      for (;;) {
        await clock.sleep(HEARTBEAT_MS, over.signal)
        await client.query('SELECT 1')
      }
    } catch (error) {
      lost(error instanceof Error ? error : new Error('heartbeat failed'))
    }
  }
}
