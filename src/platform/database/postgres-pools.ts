/**
 * The pool of connections to the primary. When the primary moves there is a new pool, and every connection of the old one is
 * ended, whatever it is doing: what it does there may be lost.
 */
import type { Duplex } from 'node:stream'
import pg from 'pg'
import type { DatabaseHost } from './database-url.js'
import type { PrimaryFollower } from './postgres-primary.js'

export interface PoolsOptions {
  readonly configOf: (host: DatabaseHost) => pg.PoolConfig
  readonly primary: Pick<PrimaryFollower, 'find' | 'confirm'>
  readonly onError: (error: Error) => void
}

export interface Pools {
  connect(): Promise<pg.PoolClient>
  /** Ends all connections to any other host. */
  moveTo(host: DatabaseHost): void
  /**
   * Whether a commit of this connection was reported although the standby that it waited for had not confirmed it: the server
   * does so, with a warning, when somebody cancels the waiting.
   */
  isInDoubt(client: pg.PoolClient): boolean
  close(): Promise<void>
}

interface HostPool {
  readonly host: DatabaseHost
  readonly pool: pg.Pool
  /** Undefined when no connection is to be had from it any more: the primary has moved. */
  readonly connect: () => Promise<pg.PoolClient | undefined>
  readonly retire: () => Promise<void>
}

export function createPools({ configOf, primary, onError }: PoolsOptions): Pools {
  const inDoubt = new WeakSet<pg.PoolClient>()
  const retiring: Promise<void>[] = []
  let current: HostPool | undefined
  let closed = false

  return {
    async connect() {
      for (;;) {
        const host = await primary.find()
        if (closed) throw new Error('the database is closed')
        const client = await poolOf(host).connect()
        if (client) return client
      }
    },
    moveTo: (host) => void poolOf(host),
    isInDoubt: (client) => inDoubt.has(client),
    async close() {
      closed = true
      await Promise.all([...retiring, current?.pool.end()])
    },
  }

  function poolOf(host: DatabaseHost): HostPool {
    if (current?.host !== host) {
      if (current) retiring.push(current.retire())
      current = openPool(host)
    }
    return current
  }

  function openPool(host: DatabaseHost): HostPool {
    const pool = new pg.Pool({
      ...configOf(host),
      verify: (client, done) => void primary.confirm(client, host).then(() => done(), done),
    })
    const clients = new Set<pg.PoolClient>()
    pool.on('connect', (client) => {
      clients.add(client)
      // Without a listener of its own a checked-out client that loses its connection would end the process; whoever has it
      // hears of the loss from its own statement.
      client.on('error', () => {})
      client.on('notice', ({ routine }) => {
        if (routine === 'SyncRepWaitForLSN') inDoubt.add(client)
      })
    })
    pool.on('remove', (client) => void clients.delete(client))
    pool.on('error', onError)
    /** Called when the pool is retired, by each that waits. No race of promises: the one that never settles would keep them all. */
    const waiting = new Set<() => void>()
    return { host, pool, connect, retire }

    function connect(): Promise<pg.PoolClient | undefined> {
      return new Promise((resolve, reject) => {
        let isAbandoned = false
        const abandon = (): void => {
          isAbandoned = true
          resolve(undefined)
        }
        waiting.add(abandon)
        pool.connect().then(
          (client) => {
            waiting.delete(abandon)
            // Nothing has been run on it.
            if (isAbandoned) client.release(true)
            else resolve(client)
          },
          (error: unknown) => {
            waiting.delete(abandon)
            reject(error)
          },
        )
      })
    }

    async function retire(): Promise<void> {
      for (const abandon of waiting) abandon()
      for (const client of clients) breakOff(client)
      await pool.end()
    }
  }
}

/** A statement under way fails now and not after a timeout; and a host that stands still is not waited for. */
function breakOff(client: pg.PoolClient): void {
  const { connection } = client as pg.PoolClient & { connection: { stream: Duplex } }
  void (client as pg.PoolClient & pg.Client).end().catch(() => {})
  connection.stream.destroy()
}
