/** Moves between real databases of the server that the tests use. */
import pg from 'pg'
import sql from 'sql-template-tag'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  createEmptyDatabase,
  createTestDatabase,
  onServer,
  type TestDatabase,
  testServerUrl,
} from '../../../test/support/database.js'
import { buildInstance, buildTenant } from '../../../test/support/factories.js'
import { migrate } from './migrate.js'
import { refuseMovedDatabase } from './move-mark.js'
import { referredFirst } from './move-tables.js'
import { createPostgres } from './postgres.js'
import { moveDatabase, stayAt } from './postgres-move.js'

let source: TestDatabase
let target: Awaited<ReturnType<typeof createEmptyDatabase>>

beforeEach(async () => {
  source = await createTestDatabase()
  target = await createEmptyDatabase()
  const tenantId = await buildTenant(source.db, 'moving')
  await buildInstance(source.db, tenantId)
})
afterEach(async () => {
  await source?.drop()
  await target?.drop()
})

const move = () => moveDatabase({ from: source.url, to: target.url, fromName: 'the old place', onProgress: () => {} })

async function at<Result>(url: string, work: (client: pg.Client) => Promise<Result>): Promise<Result> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}

/** Of a role that may create roles and nothing else, as hosted servers give. */
async function ownedDatabase(): Promise<{ url: string; drop(): Promise<void> }> {
  const { url, drop } = await createEmptyDatabase()
  const name = new URL(url).pathname.slice(1)
  const owner = `${name}_owner`
  const server = testServerUrl()
  await onServer(server, async (query) => {
    await query(`create role ${owner} login createrole password 'hush'`)
    await query(`grant mirante_system, mirante_tenant to ${owner}`)
    await query(`alter database ${name} owner to ${owner}`)
  })
  await at(url, (client) => client.query(`alter schema public owner to ${owner}`))
  const owned = new URL(url)
  owned.username = owner
  owned.password = 'hush'
  return {
    url: owned.href,
    async drop() {
      await drop()
      await onServer(server, (query) => query(`drop role ${owner}`))
    },
  }
}

const rowsAt = (url: string, text: string) => at(url, async (client) => (await client.query(text)).rows)

/** Whatever a value may look like on its way. */
const STRANGE = `insert into instance_command (id, instance_id, tenant_id, kind, args, status, expires_at)
  select gen_random_uuid(), id, tenant_id, 'restart', jsonb_build_object('strange', E'tab\\t line\\nbreak \\\\N \\\\. "quote" é 😀'), 'done', now()
  from instance`

describe('a move', () => {
  it('brings every row, value and counter, and guards them as before', async () => {
    await at(source.url, (client) => client.query(STRANGE))
    await at(source.url, (client) => client.query(`select setval('job_seq_seq', 4711)`))
    const moved = await move()
    expect(moved.find(({ name }) => name === 'instance')?.rows).toBe(1)
    const strange = `select args from instance_command`
    expect(await rowsAt(target.url, strange)).toEqual(await rowsAt(source.url, strange))
    const counters = `select sequencename, last_value from pg_sequences order by 1`
    expect(await rowsAt(target.url, counters)).toEqual(await rowsAt(source.url, counters))
    const guards = `select relname, relrowsecurity, relforcerowsecurity from pg_class
      where relkind = 'r' and relnamespace = 'public'::regnamespace order by 1`
    expect(await rowsAt(target.url, guards)).toEqual(await rowsAt(source.url, guards))
    const asleep = `select tgname from pg_trigger where tgenabled = 'D'`
    expect(await rowsAt(target.url, asleep)).toEqual([])
  })

  it('leaves the source as one that does not start, and the target as one that does', async () => {
    await move()
    const db = createPostgres({ url: target.url, max: 1, applicationName: 'test', onError: () => {} })
    await expect(refuseMovedDatabase(db)).resolves.toBeUndefined()
    await db.close()
    await expect(refuseMovedDatabase(source.db)).rejects.toMatchObject({
      code: 'database_moved',
      detail: expect.stringMatching(/has moved to/),
    })
    await expect(move()).rejects.toThrow(/has moved already/)
    // As after a crash before the last step.
    await at(source.url, (client) => client.query('update database_move set finished_at = null'))
    expect((await move()).find(({ name }) => name === 'instance')?.rows).toBe(1)
    await expect(refuseMovedDatabase(source.db)).rejects.toMatchObject({
      detail: expect.stringMatching(/has moved to/),
    })
  })

  it('refuses a target that holds something, the source itself, and a source that is in use; and leaves it usable', async () => {
    const alive = createPostgres({ url: source.url, max: 1, applicationName: 'test', onError: () => {} })
    const session = await alive.session(() => {})
    await session.execute(sql`select pg_advisory_lock_shared(77)`)
    await source.db.execute(sql`
      insert into process (incarnation, incarnation_lock, replica, role, slot, version)
      values (gen_random_uuid(), 77, 'replica-1', 'gateway', 0, 'test')`)
    await expect(move()).rejects.toThrow(/Mirante runs on the source \(replica-1\/gateway\/0\)/)
    await expect(refuseMovedDatabase(source.db)).resolves.toBeUndefined()
    await alive.close()
    await expect(
      moveDatabase({ from: source.url, to: source.url, fromName: 'x', onProgress: () => {} }),
    ).rejects.toThrow(/the source itself/)
    const other = await createTestDatabase()
    try {
      await buildTenant(other.db, 'there before')
      const onto = { from: source.url, to: other.url, fromName: 'x', onProgress: () => {} }
      await expect(moveDatabase(onto)).rejects.toThrow(/not empty: Mirante was started on it/)
      await expect(refuseMovedDatabase(source.db)).rejects.toMatchObject({ detail: expect.stringMatching(/--stay/) })
      expect(await stayAt(source.url)).toBe(true)
      await expect(refuseMovedDatabase(source.db)).resolves.toBeUndefined()
    } finally {
      await other.drop()
    }
  })

  it('goes between databases whose owners are no superusers', async () => {
    const [from, to] = [await ownedDatabase(), await ownedDatabase()]
    try {
      await migrate(from.url)
      const db = createPostgres({ url: from.url, max: 1, applicationName: 'test', onError: () => {} })
      await buildInstance(db, await buildTenant(db, 'moving'))
      await db.close()
      const moved = await moveDatabase({ from: from.url, to: to.url, fromName: 'x', onProgress: () => {} })
      expect(moved.find(({ name }) => name === 'instance')?.rows).toBe(1)
      const again = moveDatabase({ from: source.url, to: to.url, fromName: 'x', onProgress: () => {} })
      await expect(again).rejects.toThrow(/not empty/)
      const arrived = createPostgres({ url: to.url, max: 1, applicationName: 'test', onError: () => {} })
      expect(await arrived.query(sql`select name from tenant`)).toEqual([{ name: 'moving' }])
      await arrived.close()
    } finally {
      await from.drop()
      await to.drop()
    }
  })

  it('keeps nothing of what breaks on the way, lets neither start, and begins anew', async () => {
    await migrate(target.url)
    await at(target.url, (client) =>
      client.query(`alter table instance add constraint no_room check (name = '') not valid`),
    )
    await expect(move()).rejects.toThrow(/no_room/)
    expect(await rowsAt(target.url, 'select from tenant')).toEqual([])
    const db = createPostgres({ url: target.url, max: 1, applicationName: 'test', onError: () => {} })
    await expect(refuseMovedDatabase(db)).rejects.toMatchObject({ code: 'database_moved' })
    await expect(refuseMovedDatabase(source.db)).rejects.toMatchObject({ code: 'database_moved' })
    await db.close()
    await at(target.url, (client) => client.query('alter table instance drop constraint no_room'))
    expect((await move()).length).toBeGreaterThan(20)
  })
})

it('puts each table behind those that it refers to, and names a circle', () => {
  const table = (name: string) => ({ name, columns: [] })
  const tables = ['c', 'b', 'a'].map(table)
  const names = referredFirst(tables, [
    { from: 'c', to: 'b' },
    { from: 'b', to: 'a' },
  ]).map(({ name }) => name)
  expect(names).toEqual(['a', 'b', 'c'])
  const circle = [
    { from: 'a', to: 'b' },
    { from: 'b', to: 'a' },
  ]
  expect(() => referredFirst(tables, circle)).toThrow(/in a circle: b, a/)
})
