/** Asks each of several hosts what it is, twice a second, over one connection to each that is opened again for ever. */
import pg from 'pg'
import sql from 'sql-template-tag'
import { backoffMs } from '../../kernel/backoff.js'
import { createBell } from '../../kernel/bell.js'
import type { Clock } from '../../kernel/clock.js'
import type { Random } from '../../kernel/random.js'
import { alarmsOf, within } from '../leases/alarm.js'
import type { DatabaseHost } from './database-url.js'
import { clientConfig, requestTimeouts, run } from './postgres-client.js'
import type { HostAnswer, HostState } from './primary.js'

export interface HostWatchOptions {
  readonly hosts: readonly DatabaseHost[]
  readonly applicationName: string
  readonly clock: Clock
  readonly random: Random
  /** Called after each answer and each failure. */
  readonly onState: (state: HostState) => void
}

export interface HostWatch {
  readonly states: readonly HostState[]
  /** Asks all of them now, whatever the pause. */
  poke(): void
  stop(): Promise<void>
}

const EVERY_MS = 500
/** Pokes that come closer together share one question. */
const POKE_GAP_MS = 50
/** A host that takes longer counts as one that does not answer. */
const ANSWER_MS = 2_000
const RETRY = { baseMs: 100, factor: 1.5, maxMs: 1_000, jitter: 0.3 }

export function watchHosts({ hosts, applicationName, clock, random, onState }: HostWatchOptions): HostWatch {
  const states = new Map(hosts.map((host) => [host, { host, answer: undefined } as HostState]))
  const bells = hosts.map(() => createBell())
  const stopped = new AbortController()
  const setAlarm = alarmsOf(clock)
  const loops = hosts.map((host, index) => follow(host, bells[index] ?? createBell()))

  return {
    get states() {
      return [...states.values()]
    },
    poke() {
      for (const bell of bells) bell.ring()
    },
    async stop() {
      stopped.abort()
      for (const bell of bells) bell.ring()
      await Promise.all(loops)
    },
  }

  async function follow(host: DatabaseHost, bell: ReturnType<typeof createBell>): Promise<void> {
    let client: pg.Client | undefined
    for (let failures = 0; !stopped.signal.aborted; ) {
      try {
        client ??= await open(host)
        tell(host, await within(setAlarm, ANSWER_MS, askHost(client)))
        failures = 0
      } catch {
        leave(client)
        client = undefined
        tell(host, null)
        failures += 1
      }
      const pauseMs = failures === 0 ? EVERY_MS : backoffMs(failures - 1, RETRY, random)
      await clock.sleep(POKE_GAP_MS, stopped.signal).catch(() => {})
      await bell.rung((stop) => clock.sleep(pauseMs - POKE_GAP_MS, stop))
    }
    leave(client)
  }

  async function open(host: DatabaseHost): Promise<pg.Client> {
    const client = new pg.Client(
      clientConfig({
        url: host.url,
        applicationName,
        role: null,
        timeouts: { ...requestTimeouts, connectMs: ANSWER_MS },
      }),
    )
    client.on('error', () => {})
    try {
      await within(setAlarm, ANSWER_MS, client.connect())
      return client
    } catch (error) {
      leave(client)
      throw error
    }
  }

  function tell(host: DatabaseHost, answer: HostAnswer | null): void {
    if (stopped.signal.aborted) return
    const state = { host, answer }
    states.set(host, state)
    onState(state)
  }
}

/** What a server is; its answer is a `HostAnswer`. */
export const hostQuestion = sql`select (select system_identifier from pg_control_system())::text as "systemId", recovering,
      current_setting('transaction_read_only') = 'on' as "readOnly",
      case when not recovering then ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int end as timeline,
      (case when recovering then coalesce(pg_last_wal_replay_lsn(), '0/0') else pg_current_wal_flush_lsn() end
        - '0/0'::pg_lsn)::int8 as position
    from (select pg_is_in_recovery() as recovering) as server`

export async function askHost(client: pg.ClientBase): Promise<HostAnswer> {
  const { rows } = await run(client, hostQuestion)
  return rows[0] as HostAnswer
}

// Helpers

/** Not awaited: `end` waits for an answer that a dead connection never gives. */
function leave(client: pg.Client | undefined): void {
  void client?.end().catch(() => {})
}
