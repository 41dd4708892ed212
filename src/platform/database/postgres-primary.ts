/**
 * Where the primary is. With one host: there, always. With several: watched for as long as it is followed, found again for
 * ever when it moves, and each new connection is asked whether it is one to it.
 */
import type pg from 'pg'
import type { Clock } from '../../kernel/clock.js'
import type { Random } from '../../kernel/random.js'
import { alarmsOf } from '../leases/alarm.js'
import { type DatabaseHost, databaseHosts } from './database-url.js'
import { askHost, type HostWatch, watchHosts } from './postgres-watch.js'
import { choosePrimary, type Primary, whyNoPrimary } from './primary.js'

export interface PrimaryFollower {
  /** Waits for it to be there, `waitMs` at most; then rejects with an error that `isDatabaseUnavailable` recognises. */
  find(): Promise<DatabaseHost>
  /** Rejects when this new connection to the host does not lead to the primary. */
  confirm(client: pg.ClientBase, host: DatabaseHost): Promise<void>
  /** Something went wrong there: look again at once. */
  suspect(): void
  stop(): Promise<void>
}

export interface FollowOptions {
  readonly url: string
  readonly applicationName: string
  readonly waitMs: number
  readonly clock: Clock
  readonly random: Random
  /** From now on it is this one: connections opened before lead elsewhere. Not called for the first. */
  readonly onMoved: (host: DatabaseHost) => void
}

export function followPrimary(options: FollowOptions): PrimaryFollower {
  const hosts = databaseHosts(options.url)
  return hosts.length === 1 ? fixedPrimary(hosts[0]) : watchedPrimary(hosts, options)
}

/** The URL of the host that is the primary now, for who needs it once. */
export async function findPrimaryUrl(url: string, options: Pick<FollowOptions, 'clock' | 'random'>): Promise<string> {
  const once = { url, applicationName: 'mirante looks', waitMs: FIND_ONCE_MS, onMoved: () => {} }
  const follower = followPrimary({ ...once, ...options })
  try {
    return (await follower.find()).url
  } finally {
    await follower.stop()
  }
}

// Helpers

const FIND_ONCE_MS = 10_000

function fixedPrimary(host: DatabaseHost): PrimaryFollower {
  return { find: async () => host, confirm: async () => {}, suspect() {}, stop: async () => {} }
}

interface Waiter {
  readonly found: (host: DatabaseHost) => void
  readonly failed: (error: Error) => void
}

function watchedPrimary(hosts: readonly DatabaseHost[], options: FollowOptions): PrimaryFollower {
  const { applicationName, waitMs, clock, random, onMoved } = options
  const setAlarm = alarmsOf(clock)
  const waiters = new Set<Waiter>()
  let watch: HostWatch | undefined
  /** The last one, whether it answers now or not. */
  let known: Primary | undefined
  let reachable = false
  let stopped = false

  return {
    async find() {
      if (stopped) throw new Error('the database is closed')
      watch ??= watchHosts({ hosts, applicationName, clock, random, onState: look })
      return reachable && known ? known.host : wait()
    },
    async confirm(client, host) {
      const answer = await askHost(client)
      if (choosePrimary([{ host, answer }], known)) return
      watch?.poke()
      throw noPrimary(whyNoPrimary([{ host, answer }], known))
    },
    suspect: () => watch?.poke(),
    async stop() {
      stopped = true
      for (const { failed } of waiters) failed(new Error('the database is closed'))
      await watch?.stop()
    },
  }

  function look(): void {
    const chosen = choosePrimary(watch?.states ?? [], known)
    reachable = chosen !== undefined
    if (!chosen) return
    const before = known
    known = chosen
    if (before && before.host !== chosen.host) onMoved(chosen.host)
    for (const { found } of waiters) found(chosen.host)
  }

  function wait(): Promise<DatabaseHost> {
    watch?.poke()
    return new Promise((resolve, reject) => {
      const callOff = setAlarm(waitMs, () => waiter.failed(noPrimary(whyNoPrimary(watch?.states ?? [], known))))
      const end = (): void => {
        waiters.delete(waiter)
        callOff()
      }
      const waiter: Waiter = {
        found(host) {
          end()
          resolve(host)
        },
        failed(error) {
          end()
          reject(error)
        },
      }
      waiters.add(waiter)
    })
  }
}

const noPrimary = (message: string): Error => Object.assign(new Error(message), { code: 'NO_PRIMARY' })
