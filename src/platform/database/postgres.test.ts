import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  createTestDatabase,
  onServer,
  PATIENT,
  type TestDatabase,
  testServerUrl,
} from '../../../test/support/database.js'
import { createIdGenerator, type TenantId } from '../../kernel/ids.js'
import { type Database, isDatabaseUnavailable, sqlState } from './database.js'
import { createPostgres } from './postgres.js'

let test: TestDatabase
let db: Database
const ids = createIdGenerator()

beforeAll(async () => {
  test = await createTestDatabase()
  db = test.db
})
afterAll(() => test.drop())

/** The same database through one connection, so that what one use leaves behind would meet the next. */
function single(overrides: { statementMs?: number; onError?: (error: Error) => void } = {}): Database {
  return createPostgres({
    url: test.url,
    max: 1,
    applicationName: 'single',
    onError: overrides.onError ?? (() => {}),
    timeouts: { ...PATIENT, statementMs: overrides.statementMs ?? PATIENT.statementMs },
  })
}

async function addTenant(name: string): Promise<TenantId> {
  const id = ids.next('ten')
  await db.execute(sql`insert into tenant (id, name) values (${id}, ${name})`)
  return id
}

async function countTenants(name: string): Promise<bigint> {
  const [row] = await db.query<{ n: bigint }>(sql`select count(*) as n from tenant where name = ${name}`)
  return row?.n ?? -1n
}

async function terminate(pid: number): Promise<void> {
  await onServer(testServerUrl(), (query) => query(`select pg_terminate_backend(${pid}, 5000)`))
}

/** Process ids of the server for connections of our database whose last statement listened. */
async function listeners(): Promise<number[]> {
  const name = new URL(test.url).pathname.slice(1)
  const rows = await onServer(testServerUrl(), (query) =>
    query(`select pid from pg_stat_activity where datname = '${name}' and query like 'LISTEN%'`),
  )
  return rows.map(({ pid }) => Number(pid))
}

const rejection = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => expect.fail('should have failed'),
    (error: unknown) => error,
  )

describe('values', () => {
  it('reads bigint as bigint, timestamptz as Date, json parsed, date and numeric as text', async () => {
    const rows = await db.query(sql`select 9007199254740993::bigint as big, '{1,null}'::bigint[] as bigs,
      '2026-01-02T03:04:05Z'::timestamptz as at, '{"a":1}'::jsonb as json, '2026-01-02'::date as day, 1.50::numeric as exact`)
    expect(rows).toEqual([
      {
        big: 9_007_199_254_740_993n,
        bigs: [1n, null],
        at: new Date('2026-01-02T03:04:05Z'),
        json: { a: 1 },
        day: '2026-01-02',
        exact: '1.50',
      },
    ])
  })

  it('sends bigints, arrays of bigints and bytes', async () => {
    const rows = await db.query<{ a: bigint; b: bigint[]; c: Buffer }>(
      sql`select ${2n ** 60n}::bigint as a, ${[1n, 2n]}::bigint[] as b, ${Buffer.from([0, 255])}::bytea as c`,
    )
    expect(rows).toEqual([{ a: 2n ** 60n, b: [1n, 2n], c: Buffer.from([0, 255]) }])
  })

  it('prepares a named statement once per connection', async () => {
    const one = single()
    for (const value of [1, 2, 3]) await one.query(sql`select ${value}::int as value`, 'test-value')
    const rows = await one.query<{ name: string }>(sql`select name from pg_prepared_statements`)
    await one.close()
    expect(rows).toEqual([{ name: 'test-value' }])
  })

  it('says how many rows a statement touched', async () => {
    expect(await db.execute(sql`select generate_series(1, 3)`)).toBe(3)
  })
})

describe('settings', () => {
  it('runs as mirante_system with the timeouts given, keeping options of the URL', async () => {
    const url = new URL(test.url)
    url.searchParams.set('options', '-c work_mem=5MB')
    const one = createPostgres({ url: url.href, max: 1, applicationName: 'named', onError: () => {} })
    const rows = await one.query(sql`select current_user as role, current_setting('application_name') as name,
      current_setting('statement_timeout') as statement, current_setting('lock_timeout') as lock,
      current_setting('idle_in_transaction_session_timeout') as idle, current_setting('work_mem') as mem`)
    await one.close()
    expect(rows).toEqual([
      { role: 'mirante_system', name: 'named', statement: '3s', lock: '2s', idle: '3s', mem: '5MB' },
    ])
  })

  it('does not show a password when the URL is not one', () => {
    const create = () =>
      createPostgres({ url: 'postgres//me:secret@x', max: 1, applicationName: '', onError: () => {} })
    expect(create).toThrow(/must be a URL/)
    expect(create).not.toThrow(/secret/)
  })
})

describe('transactions', () => {
  it('commits when the work resolves', async () => {
    await db.tx((tx) => tx.execute(sql`insert into tenant (id, name) values (${ids.next('ten')}, 'committed')`))
    expect(await countTenants('committed')).toBe(1n)
  })

  it('rolls back when the work throws, and passes the error on', async () => {
    const work = db.tx(async (tx) => {
      await tx.execute(sql`insert into tenant (id, name) values (${ids.next('ten')}, 'thrown')`)
      throw new Error('no')
    })
    await expect(work).rejects.toThrow('no')
    expect(await countTenants('thrown')).toBe(0n)
  })

  it('does not report a commit when the work swallowed a failed statement', async () => {
    const work = db.tx(async (tx) => {
      await tx.execute(sql`insert into tenant (id, name) values (${ids.next('ten')}, 'swallowed')`)
      await tx.query(sql`select 1 / 0`).catch(() => {})
    })
    await expect(work).rejects.toThrow(/rolled back/)
    expect(await countTenants('swallowed')).toBe(0n)
  })

  it('refuses statements after its end', async () => {
    let late: Promise<unknown> = Promise.resolve()
    await db.tx(async (tx) => {
      late = new Promise((resolve) => setImmediate(resolve)).then(async () => {
        await countTenants('x')
        return tx.query(sql`select 1`)
      })
      late.catch(() => {})
    })
    await expect(late).rejects.toThrow(/has ended/)
  })

  it('keeps the connection after an SQL error, and drops it after a lost one', async () => {
    const one = single()
    const pid = async () => (await one.query<{ pid: number }>(sql`select pg_backend_pid() as pid`))[0]?.pid ?? 0
    const first = await pid()
    expect(sqlState(await rejection(one.query(sql`select 1 / 0`)))).toBe('22012')
    await rejection(one.tx((tx) => tx.query(sql`select 1 / 0`)))
    expect(await pid()).toBe(first)

    const error = await rejection(
      one.tx(async (tx) => {
        await terminate(first)
        await tx.query(sql`select 1`)
      }),
    )
    expect(isDatabaseUnavailable(error)).toBe(true)
    expect(await pid()).not.toBe(first)
    await one.close()
  })

  it('survives the loss of an idle connection', async () => {
    const errors: Error[] = []
    const one = single({ onError: (error) => errors.push(error) })
    const [row] = await one.query<{ pid: number }>(sql`select pg_backend_pid() as pid`)
    await terminate(row?.pid ?? 0)
    await expect.poll(() => errors.length).toBe(1)
    expect(await one.query(sql`select 1 as one`)).toEqual([{ one: 1 }])
    await one.close()
  })

  it('cancels a statement that takes too long, and goes on', async () => {
    const one = single({ statementMs: 50 })
    expect(sqlState(await rejection(one.query(sql`select pg_sleep(30)`)))).toBe('57014')
    expect(await one.query(sql`select 1 as one`)).toEqual([{ one: 1 }])
    await one.close()
  })
})

describe('a transaction of a tenant', () => {
  it('sees and writes its own rows only, and leaves nothing behind for the next use of the connection', async () => {
    const [mine, other] = [await addTenant('mine'), await addTenant('other')]
    const one = single()
    const seen = await one.tenantTx(mine, (tx) => tx.query<{ id: string }>(sql`select id from tenant`))
    expect(seen).toEqual([{ id: mine }])

    const foreign = one.tenantTx(mine, (tx) =>
      tx.execute(sql`insert into contact (id, tenant_id) values (${ids.next('con')}, ${other})`),
    )
    expect(sqlState(await rejection(foreign))).toBe('42501')

    const after = await one.query(
      sql`select current_user as role, coalesce(current_setting('app.tenant', true), '') as tenant`,
    )
    expect(after).toEqual([{ role: 'mirante_system', tenant: '' }])
    await one.close()
  })

  it('refuses what is not an id', async () => {
    const work = db.tenantTx("x'; drop table tenant; --" as TenantId, async () => {})
    await expect(work).rejects.toThrow(TypeError)
  })
})

describe('listen', () => {
  it('hears notifications of its channels, several listeners over one connection', async () => {
    const heard: string[] = []
    const stopA = await db.listen('channel_a', (payload) => heard.push(`a ${payload}`))
    const stopB = await db.listen('Channel B', (payload) => heard.push(`b ${payload}`))
    await db.query(sql`select pg_notify('channel_a', '1'), pg_notify('Channel B', '2'), pg_notify('channel_c', '3')`)
    await expect.poll(() => heard).toEqual(['a 1', 'b 2'])
    expect(await listeners()).toHaveLength(1)

    await stopA()
    await db.query(sql`select pg_notify('channel_a', '4')`)
    await db.query(sql`select pg_notify('Channel B', '5')`)
    await expect.poll(() => heard).toEqual(['a 1', 'b 2', 'b 5'])
    await stopB()
  })

  it('reconnects when its session breaks, and says that notifications may have been missed', async () => {
    const one = single()
    const heard: string[] = []
    let ready = 0
    await one.listen(
      'reconnecting',
      (payload) => heard.push(payload),
      () => {
        ready += 1
      },
    )
    expect(ready).toBe(1)
    const pids = await listeners()
    await Promise.all(pids.map(terminate))
    await expect.poll(() => ready).toBe(2)
    await one.query(sql`select pg_notify('reconnecting', 'again')`)
    await expect.poll(() => heard).toEqual(['again'])
    await one.close()
  })
})

describe('a dedicated session', () => {
  it('keeps its advisory lock until released', async () => {
    const session = await db.session(() => expect.fail('was not lost'))
    const locked = async () =>
      (await db.query<{ free: boolean }>(sql`select pg_try_advisory_xact_lock(42) as free`))[0]?.free === false
    await session.query(sql`select pg_advisory_lock(42)`)
    expect(await locked()).toBe(true)
    await session.release()
    await session.release()
    await expect.poll(locked).toBe(false)
  })

  it('says once that it was lost', async () => {
    const losses: Error[] = []
    const session = await db.session((error) => losses.push(error))
    const [row] = await session.query<{ pid: number }>(sql`select pg_backend_pid() as pid`)
    await terminate(row?.pid ?? 0)
    await expect.poll(() => losses.length).toBe(1)
    expect(isDatabaseUnavailable(await rejection(session.query(sql`select 1`)))).toBe(true)
    await session.release()
    expect(losses.length).toBe(1)
  })
})

describe('close', () => {
  it('ends listeners and sessions, twice without harm, and refuses what comes later', async () => {
    const one = single()
    await one.listen('closing', () => {})
    await one.session(() => expect.fail('a close is not a loss'))
    await one.close()
    await one.close()
    await expect(one.query(sql`select 1`)).rejects.toThrow()
    await expect(one.listen('closing', () => {})).rejects.toThrow(/closed/)
  })
})
