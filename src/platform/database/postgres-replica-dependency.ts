/** The read replica as something that this process depends on. */
import sql from 'sql-template-tag'
import type { Clock } from '../../kernel/clock.js'
import type { Dependency, DependencyProblem } from '../../kernel/dependency.js'
import { errorText } from '../../kernel/logger.js'
import type { Database } from './database.js'
import { type Comparison, type Misfit, misfitOf, type Replica } from './postgres-replica.js'

export interface ReplicaDependencyOptions {
  readonly replica: Replica
  readonly database: Pick<Database, 'query'>
  readonly maxLagMs: number
  readonly clock: Clock
}

/** Asked again for this long whether it has replayed what the primary had. */
const PATIENCE_MS = 1_000
const ASK_EVERY_MS = 100
const MEANWHILE = 'Everything is read from the primary.'

const misfits: Readonly<Record<Misfit, DependencyProblem>> = {
  not_a_replica: {
    code: 'not_a_replica',
    found: 'It takes writes: it is a primary and not a standby.',
    action: 'Point DATABASE_REPLICA_URL at a standby; after a failover, at the new one.',
  },
  other_cluster: {
    code: 'other_cluster',
    found: 'It belongs to another cluster than the primary (another system identifier).',
    action: 'Point DATABASE_REPLICA_URL at a standby of the server in DATABASE_URL.',
  },
}

export function createReplicaDependency(options: ReplicaDependencyOptions): Dependency {
  const { replica, database, maxLagMs, clock } = options
  const name = 'postgres-replica'
  return {
    name,
    async check() {
      try {
        const sentAt = clock.mono()
        const [row] = await database.query<{ version: string }>(
          sql`select split_part(current_setting('server_version'), ' ', 1) as version`,
        )
        const latencyMs = Math.round(clock.mono() - sentAt)
        const problems = await findProblems()
        const status = problems.length === 0 ? 'up' : 'degraded'
        const meanwhile = problems.length === 0 ? null : MEANWHILE
        return { name, status, meanwhile, latencyMs, version: row?.version ?? null, problems }
      } catch (error) {
        const found = `It does not answer: ${errorText(error)}`
        const problem = { code: 'unreachable', found, action: 'Start the standby, or correct DATABASE_REPLICA_URL.' }
        return { name, status: 'down', meanwhile: MEANWHILE, latencyMs: null, version: null, problems: [problem] }
      }
    },
  }

  async function findProblems(): Promise<DependencyProblem[]> {
    const first = await replica.compare()
    const misfit = misfitOf(first)
    if (misfit) return [misfits[misfit]]
    const behind = await bytesBehind(first)
    return behind === 0n ? [] : [lagging(behind)]
  }

  /** What is missing still, after some patience, of what the primary had at first. */
  async function bytesBehind({ primary, replica: atFirst }: Comparison): Promise<bigint> {
    const until = clock.mono() + Math.min(maxLagMs, PATIENCE_MS)
    let behind = primary.position - atFirst.position
    while (behind > 0n && clock.mono() < until) {
      await clock.sleep(ASK_EVERY_MS)
      behind = primary.position - (await replica.compare()).replica.position
    }
    return behind > 0n ? behind : 0n
  }
}

const lagging = (bytes: bigint): DependencyProblem => ({
  code: 'lagging',
  found: `It is ${bytes} bytes of the log behind the primary.`,
  action: 'Look at the network between the two, at what the standby is busy with, and at pg_stat_wal_receiver there.',
})
