/**
 * A primary and its streaming standby of a test's own, on free ports, with what may happen to them: kill -9, standstill,
 * promotion, a standby that falls behind. What an operator's failover tool does around a promotion is done here too: the new
 * primary waits for no standby until it has one again.
 */
import { existsSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import pg from 'pg'
import { requireDebian } from '../debian.js'
import { eventually } from '../eventually.js'
import { freePort } from '../launch.js'
import {
  INITDB_ARGS,
  makeClusterFolder,
  makeDataDirectory,
  type PostgresNode,
  runProgram,
  startNode,
} from './postgres-node.js'

/** Where Debian has its programs, by version: those of the npm package lack pg_basebackup. */
const VERSIONS = '/usr/lib/postgresql'

export interface PairOptions {
  /** A commit is acknowledged when both have it on disk. Default: true. */
  readonly synchronous?: boolean
  /** For both. */
  readonly settings?: Readonly<Record<string, string>>
}

export interface PostgresPair {
  /** Who is the primary now, and who is not; each has its own URL. */
  readonly primary: PostgresNode
  readonly standby: PostgresNode
  /** Both hosts, as libpq and DATABASE_URL have it. */
  readonly url: string
  /** kill -9 of all of the primary. */
  killPrimary(): Promise<void>
  /** Starts it again after that, on its own data; the standby goes on following it. */
  restartPrimary(): Promise<void>
  freezePrimary(): void
  /** Makes the standby the primary; `primary` and `standby` change places. The old one stays as it is. */
  promote(): Promise<void>
  /** Whoever is the standby in name (killed, frozen, or a primary of old) begins anew as the standby of the primary. */
  restartAsStandby(): Promise<void>
  /** The standby goes on receiving and shows nothing new. */
  freezeReplay(): Promise<void>
  thawReplay(): Promise<void>
  /** The standby receives nothing any more; with a synchronous one, commits wait. */
  cutReplication(): Promise<void>
  /** Bytes that the standby has not replayed. */
  lag(): Promise<number>
  stop(): Promise<void>
}

/** Why there can be none here; undefined when there can, perhaps after an install. */
export const whyNoPair = (): string | undefined =>
  findPrograms() || process.getuid?.() === 0 ? undefined : 'pg_basebackup is missing: apt-get install postgresql'

export async function startPostgresPair({
  synchronous = true,
  settings = {},
}: PairOptions = {}): Promise<PostgresPair> {
  const bin = programs()
  const folder = makeClusterFolder()
  const ports = [await freePort(), await freePort()] as const
  const directoryOf = (port: number) => join(folder, String(port))

  makeDataDirectory(directoryOf(ports[0]))
  runProgram(bin, 'initdb', ['-D', directoryOf(ports[0]), ...INITDB_ARGS], folder)
  let primary = await startOn(ports[0])
  let standby = await cloneOnto(ports[1])

  return {
    get primary() {
      return primary
    },
    get standby() {
      return standby
    },
    url: `postgres://postgres@127.0.0.1:${ports[0]},127.0.0.1:${ports[1]}/postgres?target_session_attrs=read-write`,
    killPrimary: () => primary.kill(),
    async restartPrimary() {
      primary = await startOn(primary.port)
    },
    freezePrimary: () => primary.freeze(),
    async promote() {
      await ask(standby, `alter system set synchronous_standby_names = ''`)
      await ask(standby, 'select pg_reload_conf()')
      await ask(standby, 'select pg_promote(true, 60)')
      ;[primary, standby] = [standby, primary]
    },
    async restartAsStandby() {
      await standby.stop()
      rmSync(directoryOf(standby.port), { recursive: true })
      standby = await cloneOnto(standby.port)
    },
    freezeReplay: async () => void (await ask(standby, 'select pg_wal_replay_pause()')),
    thawReplay: async () => void (await ask(standby, 'select pg_wal_replay_resume()')),
    async cutReplication() {
      await ask(standby, `alter system set primary_conninfo = ''`)
      await ask(standby, 'select pg_reload_conf()')
      const count = async () => (await ask(primary, 'select from pg_stat_replication')).length
      await eventually(async () => (await count()) === 0, 'the standby is cut off')
    },
    async lag() {
      const [row] = await ask(primary, 'select pg_current_wal_flush_lsn()::text as lsn')
      const [behind] = await ask(
        standby,
        `select pg_wal_lsn_diff('${row?.lsn}', pg_last_wal_replay_lsn())::int as bytes`,
      )
      return Math.max(0, Number(behind?.bytes))
    },
    async stop() {
      await Promise.all([standby.stop(), primary.stop()])
      rmSync(folder, { recursive: true, force: true })
    },
  }

  function startOn(port: number): Promise<PostgresNode> {
    return startNode({ bin, directory: directoryOf(port), port, settings })
  }

  /** A copy of the primary as it is now, streaming from it. Resolves when it does, and commits wait for it again. */
  async function cloneOnto(port: number): Promise<PostgresNode> {
    const slot = `standby_${port}`
    const from = `host=127.0.0.1 port=${primary.port} user=postgres application_name=${slot}`
    await ask(primary, `select pg_drop_replication_slot(slot_name) from pg_replication_slots where not active`)
    const args = [
      '-d',
      from,
      '-D',
      directoryOf(port),
      '-R',
      '-C',
      '-S',
      slot,
      '-X',
      'stream',
      '-c',
      'fast',
      '--no-sync',
    ]
    runProgram(bin, 'pg_basebackup', args, folder)
    const node = await startOn(port)
    const state = `select from pg_stat_replication where application_name = '${slot}' and state = 'streaming'`
    await eventually(async () => (await ask(primary, state)).length === 1, 'the standby streams')
    if (!synchronous) return node
    await ask(primary, `alter system set synchronous_standby_names = '${slot}'`)
    await ask(primary, 'select pg_reload_conf()')
    const isSync = `${state} and sync_state = 'sync'`
    await eventually(async () => (await ask(primary, isSync)).length === 1, 'the standby is synchronous')
    return node
  }
}

// Helpers

function programs(): string {
  if (!findPrograms()) requireDebian(['postgresql'])
  const found = findPrograms()
  if (!found) throw new Error('Debian has no pg_basebackup here')
  return found
}

/** The newest. */
function findPrograms(): string | undefined {
  if (!existsSync(VERSIONS)) return undefined
  const versions = readdirSync(VERSIONS).sort((one, other) => Number(other) - Number(one))
  return versions.map((version) => join(VERSIONS, version, 'bin')).find((bin) => existsSync(join(bin, 'pg_basebackup')))
}

async function ask({ url }: PostgresNode, text: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url })
  client.on('error', () => {})
  await client.connect()
  try {
    return (await client.query(text)).rows
  } finally {
    await client.end()
  }
}
