/** The database: whether it can be reached, is new enough, has our schema, our key, our time, and room for us. */
import { createDataKeys, kekOf } from '../../../features/tenants/data-keys.js'
import { AppError } from '../../../kernel/errors.js'
import { errorText } from '../../../kernel/logger.js'
import { isDatabaseUnavailable } from '../../../platform/database/database.js'
import { databaseHosts } from '../../../platform/database/database-url.js'
import { embeddedUrl } from '../../../platform/database/embedded-cluster.js'
import { type DatabaseFacts, inspectDatabase } from '../../../platform/database/inspect.js'
import { codeVersion } from '../../../platform/database/migrate.js'
import { createPostgres } from '../../../platform/database/postgres.js'
import type { OperatorConfig } from '../../config.js'
import { CONNECTIONS_PER_PROCESS } from '../../connections.js'
import { allRoles, planProcesses } from '../../roles.js'
import { type Finding, ok, problem, warning } from './finding.js'

const OLDEST_VERSION = 150_000
const LARGE_SKEW_MS = 2_000
/** Receivers of webhooks refuse timestamps that are five minutes off; tokens and QR codes do so much earlier. */
const HOPELESS_SKEW_MS = 60_000

/** @param key what `serve` would use, if it is there */
export async function checkDatabase(config: Partial<OperatorConfig>, key: Buffer | undefined): Promise<Finding[]> {
  const url =
    config.databaseUrl ?? (config.dataDirectory && (await embeddedUrl(config.dataDirectory).catch(() => undefined)))
  if (!url) return [ok('database', 'the embedded one, which the first start makes')]
  try {
    const facts = await inspectDatabase(url)
    return [
      ok('database', `${placeOf(url)} answers in ${facts.roundTripMs} ms`),
      judgeVersion(facts),
      judgeSchema(facts, await codeVersion()),
      ...(key && facts.schemaVersion > 0 ? [await checkKeyFits(url, key)] : []),
      judgeClock(facts),
      judgeConnections(facts, config.gateways ?? 1),
    ]
  } catch (error) {
    return [config.databaseUrl ? judgeFailure(error, placeOf(url)) : judgeEmbeddedFailure(error)]
  }
}

/** Neither user nor password. */
function placeOf(url: string): string {
  const hosts = databaseHosts(url)
  return `${hosts.map(({ place }) => place).join()}${new URL(hosts[0].url).pathname}`
}

function judgeFailure(error: unknown, place: string): Finding {
  const found = `${place}: ${errorText(error)}`
  return isDatabaseUnavailable(error)
    ? problem('database', `${found}`, 'Start PostgreSQL, or correct host and port in DATABASE_URL.')
    : problem('database', found, 'Correct user, password and database in DATABASE_URL.')
}

/** It runs only while `serve` does. */
function judgeEmbeddedFailure(error: unknown): Finding {
  return isDatabaseUnavailable(error)
    ? ok('database', 'the embedded one, which is not running; mirante serve starts it')
    : problem(
        'database',
        `the embedded one: ${errorText(error)}`,
        'Look into postgres-start.log in the data directory.',
      )
}

/** Pure, like those below. */
export function judgeVersion({ version, versionNumber, readOnly }: DatabaseFacts): Finding {
  if (versionNumber < OLDEST_VERSION) {
    return problem('database-version', `PostgreSQL ${version}`, 'Mirante needs PostgreSQL 15 or newer.')
  }
  if (readOnly) {
    const found = `PostgreSQL ${version}, which takes no writes`
    return problem('database-version', found, 'Point DATABASE_URL at the primary.')
  }
  return ok('database-version', `PostgreSQL ${version}`)
}

export function judgeSchema(
  { schemaVersion: have, oldestWorkingCode }: Pick<DatabaseFacts, 'schemaVersion' | 'oldestWorkingCode'>,
  want: number,
): Finding {
  if (have === want) return ok('migrations', `the schema is at version ${have}, as it should be`)
  if (have === 0) return ok('migrations', 'the database is empty; the first start fills it')
  if (have < want) {
    const found = `the schema is at version ${have}, and this Mirante has ${want}`
    return warning('migrations', found, 'Run mirante migrate, or restart mirante serve, which does so by itself.')
  }
  const found = `the schema is at version ${have}, and this Mirante knows ${want}`
  if (oldestWorkingCode <= want) return warning('migrations', found, 'They work together. Finish the update.')
  return problem('migrations', found, 'The database belongs to a newer Mirante: start that one.')
}

async function checkKeyFits(url: string, key: Buffer): Promise<Finding> {
  const db = createPostgres({ url, max: 1, applicationName: 'mirante doctor', onError: () => {} })
  try {
    await createDataKeys({ db, kek: kekOf(key) }).verify()
    return ok('key-fits', 'the encryption key opens what is stored')
  } catch (error) {
    const isOther = error instanceof AppError && error.code === 'encryption_key_mismatch'
    return isOther
      ? problem(
          'key-fits',
          'the encryption key does not open what is stored',
          'Use the ENCRYPTION_KEY of the first start.',
        )
      : problem('key-fits', errorText(error), 'Give the database user the roles of Mirante: mirante migrate')
  } finally {
    await db.close()
  }
}

export function judgeClock({
  clockAheadMs,
  roundTripMs,
}: Pick<DatabaseFacts, 'clockAheadMs' | 'roundTripMs'>): Finding {
  const sure = Math.max(0, Math.abs(clockAheadMs) - roundTripMs / 2)
  const found =
    sure < LARGE_SKEW_MS
      ? "this machine and the database's agree"
      : `this machine is ${Math.round(Math.abs(clockAheadMs) / 1_000)} s ${clockAheadMs > 0 ? 'ahead of' : 'behind'} the database`
  if (sure < LARGE_SKEW_MS) return ok('clock', found)
  const action = 'Let both machines take their time from NTP: timedatectl set-ntp true'
  return sure < HOPELESS_SKEW_MS ? warning('clock', found, action) : problem('clock', found, action)
}

/** What the replicas that run need, or this one at least; besides one for migrations and the like. */
export function judgeConnections(
  {
    connectionLimit,
    foreignConnections,
    replicas,
  }: Pick<DatabaseFacts, 'connectionLimit' | 'foreignConnections' | 'replicas'>,
  gateways: number,
): Finding {
  const processes = planProcesses({ roles: allRoles, gateways, single: false }).length
  const ours = Math.max(1, replicas) * processes * CONNECTIONS_PER_PROCESS + 1
  const free = connectionLimit - foreignConnections
  const found = `Mirante may take ${ours} of ${connectionLimit}, others have ${foreignConnections}`
  if (ours > free) {
    return problem(
      'connections',
      found,
      `Raise max_connections by ${ours - free} or more, or end what holds the others.`,
    )
  }
  if (ours > free * 0.8)
    return warning('connections', found, 'Raise max_connections before you add replicas or gateways.')
  return ok('connections', found)
}
