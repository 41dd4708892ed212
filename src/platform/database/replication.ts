/** Whether a failover of the primary would keep what was acknowledged, as the primary itself tells it. */
import sql from 'sql-template-tag'
import type { DependencyProblem } from '../../kernel/dependency.js'
import type { Queryable } from './database.js'

export interface ReplicationFacts {
  /** Of the URL: with several, somebody means to fail over. */
  readonly hosts: number
  /** `synchronous_standby_names` names some. */
  readonly waitsForStandby: boolean
  /** Connected and synchronous; null: this user may not see it. */
  readonly synchronousStandbys: number | null
}

/** Without `pg_monitor` a user sees that somebody is connected, and not as what. */
export async function readReplication(db: Queryable): Promise<Omit<ReplicationFacts, 'hosts'>> {
  const [row] = await db.query<Omit<ReplicationFacts, 'hosts'>>(
    sql`
      select current_setting('synchronous_standby_names') <> '' as "waitsForStandby",
        case when count(*) filter (where state is null) = 0
          then (count(*) filter (where sync_state in ('sync', 'quorum')))::int end as "synchronousStandbys"
      from pg_stat_replication`,
    'replication',
  )
  if (!row) throw new Error('the database did not tell of its replication')
  return row
}

/** Pure. */
export function judgeReplication({
  hosts,
  waitsForStandby,
  synchronousStandbys,
}: ReplicationFacts): DependencyProblem[] {
  if (waitsForStandby && synchronousStandbys === 0) {
    const found = 'synchronous_standby_names names standbys, and none of them is connected: every commit waits.'
    const action =
      'Bring a standby back; or empty synchronous_standby_names, and know that a failover loses messages then.'
    return [{ code: 'no_sync_standby', found, action }]
  }
  if (hosts > 1 && !waitsForStandby) {
    const found = 'The standbys are asynchronous: a failover may lose messages that were accepted.'
    return [
      { code: 'asynchronous_standby', found, action: "Set synchronous_standby_names, such as 'ANY 1 (two, three)'." },
    ]
  }
  return []
}
