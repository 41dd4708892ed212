/** Several hosts in one DATABASE_URL, against a real primary and a real standby. */
import pg from 'pg'
import sql from 'sql-template-tag'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { eventually } from '../../../test/support/eventually.js'
import { type PostgresPair, startPostgresPair, whyNoPair } from '../../../test/support/servers/postgres-pair.js'
import { type Database, isDatabaseUnavailable } from './database.js'
import { migrate, schemaVersion } from './migrate.js'
import { createPostgres } from './postgres.js'

describe.skipIf(whyNoPair())('a database of several hosts', () => {
  let pair: PostgresPair
  let db: Database
  beforeEach(({ task }) => start(!task.name.includes('asynchronous')), 120_000)
  afterEach(async () => {
    await db?.close()
    await pair?.stop()
  })

  async function start(synchronous: boolean): Promise<void> {
    pair = await startPostgresPair({ synchronous })
    db = open()
    await db.execute(sql`create table note (n int primary key)`)
  }

  const open = (): Database =>
    createPostgres({ url: pair.url, max: 4, applicationName: 'test', onError: () => {}, systemRole: null })

  it('goes on at the standby by itself when the primary is killed and the standby promoted', async () => {
    // Named second, it is found too.
    await migrate(pair.url.replace(/(127\.0\.0\.1:\d+),(127\.0\.0\.1:\d+)/, '$2,$1'))
    expect(await schemaVersion(db)).toBeGreaterThan(0)
    const heard: string[] = []
    let ready = 0
    await db.listen(
      'news',
      (payload) => heard.push(payload),
      () => (ready += 1),
    )
    const lost: Error[] = []
    await db.session((error) => lost.push(error))
    await write(1)
    await pair.killPrimary()
    await expect(db.execute(sql`insert into note values (2)`)).rejects.toSatisfy(isDatabaseUnavailable)
    await pair.promote()
    await eventually(() => write(3), 'it writes again')
    expect(lost.map(isDatabaseUnavailable)).toEqual([true])
    const session = await db.session(() => {})
    await session.execute(sql`select pg_advisory_lock(1)`)
    await eventually(() => ready > 1, 'it listens again')
    await db.execute(sql`select pg_notify('news', 'here')`)
    await eventually(() => heard.includes('here'), 'it hears')
    // What had been acknowledged is there.
    expect(await notes(pair.primary.url)).toEqual([1, 3])
  }, 120_000)

  it('leaves an asynchronous primary that stood still when it wakes up beside its successor', async () => {
    await write(1)
    await eventually(async () => (await pair.lag()) === 0, 'the standby has it')
    // Connections that lie idle to the old primary must not be used again.
    await Promise.all([0, 0, 0, 0].map(() => db.execute(sql`select pg_sleep(0.05)`)))
    pair.freezePrimary()
    await pair.promote()
    const old = pair.standby
    await eventually(() => write(2), 'it writes to the successor')
    old.thaw()
    for (let n = 3; n <= 60; n++) await write(n)
    const fresh = open()
    await fresh.execute(sql`insert into note values (100)`)
    await fresh.close()
    // What was on its way when it stood still may have been written; nothing was sent there since.
    expect((await notes(old.url)).filter((n) => Number(n) > 2)).toEqual([])
    expect((await notes(pair.primary.url)).length).toBe(61)
  }, 120_000)

  it('takes no commit for done that no standby has confirmed', async () => {
    await write(1)
    await pair.cutReplication()
    const insert = db.execute(sql`insert into note values (2)`).catch((error: unknown) => error)
    const waiting = `select pid from pg_stat_activity where wait_event = 'SyncRep'`
    await eventually(async () => (await ask(pair.primary.url, waiting)).length === 1, 'it waits for the standby')
    // The server then reports the commit as done.
    await ask(pair.primary.url, `select pg_cancel_backend(pid) from (${waiting}) as waiting`)
    expect(await insert).toSatisfy(isDatabaseUnavailable)
  }, 120_000)

  async function write(n: number): Promise<boolean> {
    await db.execute(sql`insert into note values (${n})`)
    return true
  }
})

const notes = async (url: string) => (await ask(url, 'select n from note order by n')).map(({ n }) => n)

async function ask(url: string, text: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    return (await client.query(text)).rows
  } finally {
    await client.end()
  }
}
