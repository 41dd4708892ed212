/** The primary as something that this process depends on: how it answers, and what about it keeps a promise from being kept. */
import sql from 'sql-template-tag'
import type { Clock } from '../../kernel/clock.js'
import type { Dependency, DependencyProblem, DependencyReport } from '../../kernel/dependency.js'
import { errorText } from '../../kernel/logger.js'
import { alarmsOf, within } from '../leases/alarm.js'
import type { Queryable } from './database.js'
import { oldestWorkingCode, schemaVersion } from './migrate.js'
import { judgeReplication, readReplication } from './replication.js'

export interface PostgresDependencyOptions {
  readonly db: Queryable
  /** In its URL. */
  readonly hosts: number
  readonly clock: Clock
  /** Of this code (`codeVersion`). */
  readonly wantedSchema: () => Promise<number>
}

/** What a look at the primary brings. */
export interface PrimaryFacts {
  /** `18.1` */
  readonly version: string
  /** `180001` */
  readonly versionNumber: number
  /** A standby, or a database that was set read-only. */
  readonly readOnly: boolean
  /** Of this connection: `off` means that a commit is answered before it is on the disk. */
  readonly synchronousCommit: string
  /** Named by `synchronous_standby_names`: a commit is to wait for them. */
  readonly hasSynchronousStandby: boolean
  readonly fsync: boolean
  /** What a user without privileges may take. */
  readonly connectionLimit: number
  /** Taken now, by anybody. */
  readonly connections: number
  /** How far this machine's clock is ahead of the database's. */
  readonly clockAheadMs: number
  /** The skew cannot be known better than this. */
  readonly roundTripMs: number
  readonly schemaVersion: number
  /** The oldest schema whose code works with this one. */
  readonly oldestWorkingCode: number
  readonly wantedSchema: number
}

const TIMEOUT_MS = 2_000
const OLDEST_VERSION = 150_000
const LARGE_SKEW_MS = 3_000
/** Of the connections that may be taken: above it the next replica or gateway may find none. */
const NEARLY_ALL = 0.9

const MEANWHILE = {
  degraded: 'Mirante works on; the problems say which promise is in danger.',
  down: 'Nothing is accepted and nothing is sent until it answers; what was accepted is in it and is not lost.',
} as const

export function createPostgresDependency({ db, hosts, clock, wantedSchema }: PostgresDependencyOptions): Dependency {
  const setAlarm = alarmsOf(clock)
  return { name: 'postgres', check }

  async function check(): Promise<DependencyReport> {
    try {
      const [facts, replication] = await within(setAlarm, TIMEOUT_MS, Promise.all([look(), readReplication(db)]))
      return report(facts, [...judgePrimary(facts), ...judgeReplication({ hosts, ...replication })])
    } catch (error) {
      const found = `It does not answer: ${errorText(error)}`
      const action = 'Start PostgreSQL, or correct DATABASE_URL; look at its log.'
      const problems = [{ code: 'unreachable', found, action }]
      return { name: 'postgres', status: 'down', meanwhile: MEANWHILE.down, latencyMs: null, version: null, problems }
    }
  }

  async function look(): Promise<PrimaryFacts> {
    const want = await wantedSchema()
    const [sentAt, sentMono] = [clock.now(), clock.mono()]
    const server = await readServer(db)
    const roundTripMs = clock.mono() - sentMono
    const { now, ...facts } = server
    return {
      ...facts,
      clockAheadMs: Math.round(sentAt + roundTripMs / 2 - now.getTime()),
      roundTripMs,
      schemaVersion: await schemaVersion(db),
      oldestWorkingCode: await oldestWorkingCode(db),
      wantedSchema: want,
    }
  }
}

function report(facts: PrimaryFacts, problems: readonly DependencyProblem[]): DependencyReport {
  return {
    name: 'postgres',
    status: problems.length === 0 ? 'up' : 'degraded',
    meanwhile: problems.length === 0 ? null : MEANWHILE.degraded,
    latencyMs: Math.round(facts.roundTripMs * 10) / 10,
    version: facts.version,
    problems,
  }
}

/** Pure. */
export function judgePrimary(facts: PrimaryFacts): DependencyProblem[] {
  return [...judgeServer(facts), ...judgeDurability(facts), ...judgeClock(facts), ...judgeSchema(facts)]
}

function judgeServer(facts: PrimaryFacts): DependencyProblem[] {
  const { version, versionNumber, readOnly, connections, connectionLimit } = facts
  const problems: DependencyProblem[] = []
  if (versionNumber < OLDEST_VERSION) {
    const found = `PostgreSQL ${version} is too old for Mirante.`
    problems.push({ code: 'version_too_old', found, action: 'Move to PostgreSQL 15 or newer.' })
  }
  if (readOnly) {
    const found = 'It takes no writes: a standby, or a database that was set read-only.'
    problems.push({ code: 'read_only', found, action: 'Point DATABASE_URL at the primary.' })
  }
  if (connections >= connectionLimit * NEARLY_ALL) {
    const found = `${connections} of ${connectionLimit} connections are taken.`
    const action = 'Raise max_connections, or end what holds the others, before you add replicas or gateways.'
    problems.push({ code: 'connections_nearly_used', found, action })
  }
  return problems
}

function judgeDurability({ fsync, synchronousCommit, hasSynchronousStandby }: PrimaryFacts): DependencyProblem[] {
  const problems: DependencyProblem[] = []
  if (!fsync) {
    const found = 'fsync is off: a crash of its machine may destroy the database.'
    problems.push({ code: 'fsync_off', found, action: 'Set fsync = on and restart PostgreSQL.' })
  }
  if (synchronousCommit === 'off') {
    const found = 'synchronous_commit is off: a crash of its machine may lose messages that were accepted.'
    const action = 'Set synchronous_commit = on, for the server, the database or the user of Mirante.'
    problems.push({ code: 'synchronous_commit_off', found, action })
  }
  if (synchronousCommit === 'local' && hasSynchronousStandby) {
    const found = 'synchronous_commit is local: a failover to the standby may lose messages that were accepted.'
    const action = 'Set synchronous_commit = on for the user of Mirante.'
    problems.push({ code: 'synchronous_commit_local', found, action })
  }
  return problems
}

/** No decision depends on it; the times that are shown, and those that schedules name, do. */
function judgeClock({ clockAheadMs, roundTripMs }: PrimaryFacts): DependencyProblem[] {
  if (Math.abs(clockAheadMs) - roundTripMs / 2 < LARGE_SKEW_MS) return []
  const seconds = Math.round(Math.abs(clockAheadMs) / 1_000)
  const found = `This machine's clock is ${seconds} s ${clockAheadMs > 0 ? 'ahead of' : 'behind'} the database's: times that are shown are wrong.`
  const action = 'Let both machines take their time from NTP: timedatectl set-ntp true'
  return [{ code: 'clock_apart', found, action }]
}

function judgeSchema({
  schemaVersion: have,
  oldestWorkingCode,
  wantedSchema: want,
}: PrimaryFacts): DependencyProblem[] {
  const found = `The schema is at version ${have}, and this process was built for ${want}`
  if (have < want) {
    return [
      {
        code: 'schema_older',
        found: `${found}.`,
        action: 'Run mirante migrate, or restart mirante serve, which does so.',
      },
    ]
  }
  if (have === want) return []
  const action = 'Finish the update: restart this replica with the newer Mirante.'
  return oldestWorkingCode <= want
    ? [{ code: 'schema_newer', found: `${found}; they work together.`, action }]
    : [{ code: 'schema_too_new', found: `${found}, which does not work with it and will not start again.`, action }]
}

type ServerRow = Omit<
  PrimaryFacts,
  'clockAheadMs' | 'roundTripMs' | 'schemaVersion' | 'oldestWorkingCode' | 'wantedSchema'
> & {
  readonly now: Date
}

/** Counted in pg_stat_database: of other users' sessions pg_stat_activity says nothing to an ordinary user. */
async function readServer(db: Queryable): Promise<ServerRow> {
  const [row] = await db.query<ServerRow>(
    sql`
      select clock_timestamp() as "now", split_part(current_setting('server_version'), ' ', 1) as "version",
        current_setting('server_version_num')::int as "versionNumber",
        pg_is_in_recovery() or current_setting('default_transaction_read_only') = 'on' as "readOnly",
        current_setting('synchronous_commit') as "synchronousCommit",
        current_setting('synchronous_standby_names') <> '' as "hasSynchronousStandby",
        current_setting('fsync') = 'on' as "fsync",
        current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
          - coalesce(current_setting('reserved_connections', true), '0')::int as "connectionLimit",
        (select sum(numbackends)::int from pg_stat_database) as "connections"`,
    'dependency-primary',
  )
  if (!row) throw new Error('the database did not say what it is')
  return row
}
