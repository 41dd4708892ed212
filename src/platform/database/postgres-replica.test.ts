/** Reads over a real primary and a real standby. */
import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createTestDatabase } from '../../../test/support/database.js'
import { eventually } from '../../../test/support/eventually.js'
import { type PostgresPair, startPostgresPair, whyNoPair } from '../../../test/support/servers/postgres-pair.js'
import { systemClock as clock } from '../../kernel/clock.js'
import type { TenantId } from '../../kernel/ids.js'
import type { Database, Queryable } from './database.js'
import { migrate } from './migrate.js'
import { createPostgres } from './postgres.js'
import { createReplica } from './postgres-replica.js'
import { createReplicaDependency } from './postgres-replica-dependency.js'

const TENANT = '0190a000-0000-7000-8000-000000000001' as TenantId
const OTHER = '0190a000-0000-7000-8000-000000000002' as TenantId
/** So long that no test can be slow enough to come to it. */
const AGES_MS = 3_600_000

describe.skipIf(whyNoPair())('a reader with a replica', () => {
  let pair: PostgresPair
  const open: Database[] = []
  beforeAll(async () => {
    pair = await startPostgresPair({ synchronous: false })
    await migrate(pair.primary.url)
  }, 120_000)
  afterAll(async () => {
    await Promise.all(open.map((db) => db.close()))
    await pair?.stop()
  })

  function connect(url: string): Database {
    const db = createPostgres({ url, max: 2, applicationName: 'test', onError: () => {} })
    open.push(db)
    return db
  }

  function world(replicaUrl = pair.standby.url, maxLagMs = AGES_MS) {
    const primary = connect(pair.primary.url)
    const database = connect(replicaUrl)
    const replica = createReplica({ primary, replica: database, maxLagMs, clock })
    const dependency = createReplicaDependency({ replica, database, maxLagMs, clock })
    return { ...replica, primary, dependency }
  }

  const caughtUp = () => eventually(async () => (await pair.lag()) === 0, 'the standby has everything')

  it('reads from the standby, as the tenant', async () => {
    const { reader, dependency } = world()
    await caughtUp()
    await eventually(async () => (await reader.asSystem(TENANT, whoAnswers)) === 'standby', 'the standby answers')
    const [row] = await reader.tenantTx(TENANT, (tx) =>
      tx.query(
        sql`select current_user as role, current_setting('app.tenant') as tenant, pg_is_in_recovery() as standby`,
      ),
    )
    expect(row).toEqual({ role: 'mirante_tenant', tenant: TENANT, standby: true })
    expect(await dependency.check()).toMatchObject({ status: 'up', latencyMs: expect.any(Number), problems: [] })
  })

  it('shows a tenant what it has changed here, however far behind the standby is; others may wait', async () => {
    const { reader, noteChange, primary, dependency } = world()
    await caughtUp()
    await eventually(async () => (await reader.asSystem(OTHER, whoAnswers)) === 'standby', 'the standby answers')
    await pair.freezeReplay()
    try {
      await primary.tx((tx) => tx.execute(sql`select pg_logical_emit_message(true, 'test', 'a change')`))
      noteChange(TENANT)
      expect(await reader.asSystem(TENANT, whoAnswers)).toBe('primary')
      expect(await reader.asSystem(OTHER, whoAnswers)).toBe('standby')
      expect(await dependency.check()).toMatchObject({ status: 'degraded', problems: [{ code: 'lagging' }] })
    } finally {
      await pair.thawReplay()
    }
    await caughtUp()
    expect(await reader.asSystem(TENANT, whoAnswers)).toBe('standby')
  })

  it('reads from the primary once the standby is further behind than it may be', async () => {
    await caughtUp()
    const { reader, primary } = world(pair.standby.url, 0)
    await pair.freezeReplay()
    try {
      await primary.tx((tx) => tx.execute(sql`select pg_logical_emit_message(true, 'test', 'a change')`))
      expect(await reader.asSystem(OTHER, whoAnswers)).toBe('primary')
    } finally {
      await pair.thawReplay()
    }
  })

  it('asks the primary what the standby could not say', async () => {
    const { reader } = world()
    await caughtUp()
    await eventually(async () => (await reader.asSystem(TENANT, whoAnswers)) === 'standby', 'the standby answers')
    const asked: string[] = []
    const answer = await reader.asSystem(TENANT, async (db) => {
      const who = await whoAnswers(db)
      asked.push(who)
      if (who === 'standby') throw new Error('no such row')
      return who
    })
    expect([answer, ...asked]).toEqual(['primary', 'standby', 'primary'])
  })

  it('never reads from a primary or from another cluster, and says so', async () => {
    const { reader, dependency } = world(pair.primary.url)
    expect(await reader.asSystem(TENANT, whoAnswers)).toBe('primary')
    expect(await dependency.check()).toMatchObject({ status: 'degraded', problems: [{ code: 'not_a_replica' }] })
    const foreign = await createTestDatabase()
    try {
      const { dependency, reader } = world(foreign.url)
      expect(await dependency.check()).toMatchObject({ status: 'degraded', problems: [{ code: 'other_cluster' }] })
      const name = sql`select current_database() as name`
      expect(await reader.asSystem(TENANT, (db) => db.query(name))).toEqual([{ name: 'postgres' }])
      await open.at(-1)?.close()
    } finally {
      await foreign.drop()
    }
  })

  it('goes on without a standby that answers', async () => {
    const { reader, dependency } = world('postgres://nobody:hush@127.0.0.1:1/postgres')
    expect(await reader.asSystem(TENANT, whoAnswers)).toBe('primary')
    const report = await dependency.check()
    expect(report).toMatchObject({ status: 'down', meanwhile: expect.any(String), problems: [{ code: 'unreachable' }] })
    expect(JSON.stringify(report)).not.toContain('hush')
  })
})

async function whoAnswers(db: Queryable): Promise<string> {
  const [row] = await db.query<{ standby: boolean }>(sql`select pg_is_in_recovery() as standby`)
  return row?.standby ? 'standby' : 'primary'
}
