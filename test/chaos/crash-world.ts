/**
 * A Mirante that can be made to die at a named point (crash-process.ts), the simulated WhatsApp that outlives it, and the
 * database that both are judged by: one pair serves many rounds.
 */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { startCluster } from '../support/cluster.js'
import { eventually } from '../support/eventually.js'
import { launchMirante, launchSimulator, type MiranteProcess, type SimulatorProcess } from '../support/launch.js'
import { pairByQr } from '../support/pair.js'

export interface Arming {
  /** Null: live on. */
  readonly point: string | null
  /** Dies when it comes to the point for this time; 1 is the next. */
  readonly hit: number
}

export interface CrashWorld {
  readonly simulator: SimulatorProcess
  readonly mirante: MiranteProcess
  readonly instanceId: string
  /** Contacts that every round writes with. */
  readonly friends: readonly Friend[]
  /** Somebody who never wrote before: a first message each way. */
  stranger(): Promise<Friend>
  /** Tells the running process what to die of. False when it died of something before it heard. */
  arm(arming: Arming): Promise<boolean>
  /** Tells the process that is started next. */
  armNext(arming: Arming): void
  /** What the process died of, once. */
  epitaph(): Arming | undefined
  count(): Promise<DatabaseCount>
  stop(): Promise<void>
}

export interface Friend {
  readonly phone: string
  /** How we address them: a phone number or a LID. */
  readonly to: string
  /** Whether they write to us, besides reading. */
  readonly writes: boolean
}

export interface DatabaseCount {
  /** Outbound messages on their way. */
  readonly open: number
  readonly failed: number
  /** Acknowledged, and no delivery receipt was stored. */
  readonly undelivered: number
  readonly inbound: number
  /** Raw entries that nobody has turned into what they are. */
  readonly raw: number
  /** Events that tell the same of the same message once more. */
  readonly eventsTwice: number
}

export const ACCOUNT = '5511999990007'
const HEARS_WITHIN_MS = 60_000

export interface WorldOptions {
  readonly seed: number
  /** For the control: the journal is written after the wire. */
  readonly writtenLater?: boolean
}

export async function createCrashWorld(options: WorldOptions): Promise<CrashWorld> {
  const opened: (() => Promise<unknown>)[] = []
  const stop = async (): Promise<void> => {
    for (const close of opened.splice(0).reverse()) await close()
  }
  try {
    return { ...(await openWorld(options, (close) => opened.push(close))), stop }
  } catch (error) {
    await stop()
    throw error
  }
}

async function openWorld(
  { seed, writtenLater = false }: WorldOptions,
  atStop: (close: () => Promise<unknown>) => void,
): Promise<Omit<CrashWorld, 'stop'>> {
  const cluster = await startCluster()
  atStop(() => cluster.stop())
  const simulator = await launchSimulator(['--seed', String(seed), '--latency-ms', '0'])
  atStop(() => simulator.stop())
  const script = fileURLToPath(new URL('./crash-process.ts', import.meta.url))
  const mirante = await launchMirante({
    simulator,
    command: ['--import', 'tsx', script, ...(writtenLater ? ['--written-later'] : [])],
    env: { DATABASE_URL: cluster.url, LEASE_TTL_MS: '6000', LOG_LEVEL: process.env.LOG_LEVEL ?? 'error' },
  })
  atStop(() => mirante.stop())
  const db = new pg.Client(cluster.url)
  db.on('error', () => {})
  await db.connect()
  atStop(() => db.end())
  const crashFile = join(mirante.directory, 'crashed.json')
  const friends = [
    ...(await meet(simulator, ['5511977100001', '5511977100002', '5511977100003'], byPhone)),
    ...(await meet(simulator, ['5511977200001', '5511977200002'], bySilentLid)),
  ]
  const instanceId = await pairByQr(mirante, simulator, 'crash', ACCOUNT)
  let strangers = 0

  return {
    simulator,
    mirante,
    instanceId,
    friends,
    async stranger() {
      strangers += 1
      const [stranger] = await meet(simulator, [`5511966${String(100_000 + strangers)}`], byPhone)
      if (!stranger) throw new Error('nobody was made')
      return stranger
    },
    ...arms(mirante),
    epitaph() {
      if (!existsSync(crashFile)) return undefined
      const arming = JSON.parse(readFileSync(crashFile, 'utf8')) as Arming
      rmSync(crashFile)
      return arming
    },
    async count() {
      const { rows } = await db.query<DatabaseCount>(COUNT)
      if (!rows[0]) throw new Error('the database counts nothing')
      return rows[0]
    },
  }
}

interface Contact {
  readonly phone: string
  readonly lid: string
}

const byPhone = ({ phone }: Contact): Friend => ({ phone, to: `+${phone}`, writes: true })
/**
 * The library opens a new session whenever it looks up the devices of a phone number, so for phone numbers never after each
 * start: only with those whom we know by LID, and who never answer, does a chain of counters go on across a crash.
 */
const bySilentLid = ({ phone, lid }: Contact): Friend => ({ phone, to: `${lid}@lid`, writes: false })

async function meet(
  simulator: SimulatorProcess,
  phones: readonly string[],
  as: (contact: Contact) => Friend,
): Promise<Friend[]> {
  const body = { phones, receipts: 'delivered' }
  const { contacts } = await simulator.admin<{ contacts: Contact[] }>('POST', '/admin/contacts', body)
  return contacts.map(as)
}

function arms(mirante: MiranteProcess): Pick<CrashWorld, 'arm' | 'armNext'> {
  const armFile = join(mirante.directory, 'arm.json')
  const armNext = (arming: Arming): void => writeFileSync(armFile, JSON.stringify(arming))
  const isHeard = (): boolean => !existsSync(armFile)
  return {
    armNext,
    async arm(arming) {
      armNext(arming)
      if (mirante.alive) process.kill(mirante.pid, 'SIGUSR2')
      await eventually(() => isHeard() || !mirante.alive, 'the process heard', HEARS_WITHIN_MS)
      if (isHeard()) return true
      rmSync(armFile, { force: true })
      return false
    },
  }
}

const COUNT = `
  select
    count(*) filter (where direction = 'outbound' and status in ('queued', 'sending', 'unknown'))::int as open,
    count(*) filter (where direction = 'outbound' and status = 'failed')::int as failed,
    count(*) filter (where direction = 'outbound' and status = 'sent')::int as undelivered,
    count(*) filter (where direction = 'inbound')::int as inbound,
    (select count(*) from inbound_raw where done_at is null)::int as raw,
    (select coalesce(sum(n - 1), 0) from (
      select count(*) as n from event where type like 'message.%' group by type, subject_id having count(*) > 1
    ) doubled)::int as "eventsTwice"
  from message`
