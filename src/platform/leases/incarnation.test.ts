import sql from 'sql-template-tag'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { createTestDatabase, onServer, type TestDatabase, testServerUrl } from '../../../test/support/database.js'
import { systemClock } from '../../kernel/clock.js'
import { sha256 } from '../../kernel/crypto.js'
import { silentLogger } from '../../kernel/logger.js'
import { seededRandom } from '../../kernel/random.js'
import { createIncarnation, type IncarnationOptions, type IncarnationService } from './incarnation.js'
import type { Incarnation, Resource } from './lease.js'
import { createLeaseStore } from './lease-store.js'
import type { LeaseStore } from './lease-store.port.js'
import { takeNow } from './testing/test-process.js'

let test: TestDatabase
let store: LeaseStore
const started: IncarnationService[] = []

beforeAll(async () => {
  test = await createTestDatabase()
  store = createLeaseStore(test.db, { advisoryLocks: true })
})
afterEach(async () => {
  for (const incarnation of started.splice(0)) await incarnation.stop()
  await test.db.execute(sql`delete from lease`)
  await test.db.execute(sql`delete from process`)
})
afterAll(() => test.drop())

async function start(overrides: Partial<IncarnationOptions> = {}): Promise<IncarnationService> {
  const incarnation = createIncarnation({
    db: test.db,
    replica: 'r1',
    role: 'gateway',
    slot: 0,
    version: '1.2.3',
    clock: systemClock,
    random: seededRandom(1),
    logger: silentLogger,
    ...overrides,
  })
  started.push(incarnation)
  await incarnation.start()
  return incarnation
}

async function rowOf(id: Incarnation): Promise<Record<string, unknown> | undefined> {
  const [row] = await test.db.query<Record<string, unknown>>(sql`
    select replica, role, slot, version, incarnation_lock as lock from process where incarnation = ${id}`)
  return row
}

/** What other processes think of it, once it holds a lease. */
async function isGone(id: Incarnation): Promise<boolean | null | undefined> {
  const resource = `of:${id}` as Resource
  const [record] = await store.poll([resource])
  if (record?.holder !== id) await takeNow(store, resource, id)
  const [held] = await store.poll([resource])
  return held?.holderGone
}

/** The backends that hold the advisory lock of this process. */
async function lockPids(id: Incarnation): Promise<number[]> {
  const lock = sha256(id).readBigInt64BE()
  const rows = await test.db.query<{ pid: number }>(sql`
    select pid from pg_locks where locktype = 'advisory' and granted and (classid::bigint << 32) | objid::bigint = ${lock}`)
  return rows.map(({ pid }) => pid)
}

async function breakSession(id: Incarnation): Promise<void> {
  const [pid] = await lockPids(id)
  await onServer(testServerUrl(), (query) => query(`select pg_terminate_backend(${pid}, 5000)`))
}

describe('a process', () => {
  it('is alive to others from its start to its end, and says who it is', async () => {
    const incarnation = await start()
    expect(await rowOf(incarnation.id)).toMatchObject({ replica: 'r1', role: 'gateway', slot: 0, version: '1.2.3' })
    expect(await isGone(incarnation.id)).toBe(false)
    await incarnation.stop()
    expect(await isGone(incarnation.id)).toBe(true)
  })

  it('takes its lock again when its session breaks, in a session of another kind of id', async () => {
    const incarnation = await start()
    const [before] = await lockPids(incarnation.id)
    await breakSession(incarnation.id)
    await expect.poll(() => lockPids(incarnation.id)).toEqual([expect.any(Number)])
    expect(await lockPids(incarnation.id)).not.toEqual([before])
    expect(await isGone(incarnation.id)).toBe(false)
  })

  it('registers again when its row was cleaned away while its session was broken', async () => {
    const incarnation = await start()
    await test.db.execute(sql`delete from process where incarnation = ${incarnation.id}`)
    await breakSession(incarnation.id)
    await expect.poll(() => rowOf(incarnation.id)).toBeDefined()
  })

  it('is another one at each start', async () => {
    expect((await start()).id).not.toBe((await start({ slot: 1 })).id)
  })

  it('does not start without its lock', async () => {
    const db = { ...test.db, session: () => Promise.reject(new Error('ECONNREFUSED')) }
    await expect(start({ db })).rejects.toThrow('ECONNREFUSED')
  })

  it('stops before it has started, and twice', async () => {
    const incarnation = createIncarnation({
      db: test.db,
      replica: 'r1',
      role: 'gateway',
      slot: 0,
      version: '1',
      clock: systemClock,
      random: seededRandom(1),
      logger: silentLogger,
    })
    await incarnation.stop()
    await incarnation.stop()
  })
})

describe('the rows of processes', () => {
  it('go with a clean end, but stay while a lease names them, so that the death can be seen', async () => {
    const [idle, holding] = [await start(), await start({ slot: 1 })]
    await takeNow(store, 'held' as Resource, holding.id)
    await idle.stop()
    await holding.stop()
    expect(await rowOf(idle.id)).toBeUndefined()
    expect(await rowOf(holding.id)).toBeDefined()
    expect(await store.poll(['held' as Resource])).toMatchObject([{ holder: holding.id, holderGone: true }])
  })

  it('are cleaned by the next process that starts, when dead and holding nothing', async () => {
    const living = await start()
    const dead = await start({ slot: 1 })
    const fence = await takeNow(store, 'held' as Resource, dead.id)
    await dead.stop()
    const next = await start({ slot: 2 })
    expect(await rowOf(dead.id)).toBeDefined()
    await store.release(fence, 'stopped')
    await start({ slot: 3 })
    expect(await rowOf(dead.id)).toBeUndefined()
    expect(await rowOf(living.id)).toBeDefined()
    expect(await rowOf(next.id)).toBeDefined()
  })
})

describe('behind a transaction pooler', () => {
  it('holds no lock, and nobody takes it for dead', async () => {
    const incarnation = await start({ advisoryLocks: false })
    expect(await rowOf(incarnation.id)).toMatchObject({ lock: null })
    expect(await lockPids(incarnation.id)).toEqual([])
    expect(await isGone(incarnation.id)).toBeNull()
  })

  it('cleans the row of the process that it replaces, and no other', async () => {
    const row = (slot: number) => sql`
      insert into process (incarnation, replica, role, slot, version)
      values (gen_random_uuid(), 'r1', 'gateway', ${slot}, '1') returning incarnation`
    const [before] = await test.db.query<{ incarnation: Incarnation }>(row(0))
    const [neighbour] = await test.db.query<{ incarnation: Incarnation }>(row(1))
    await start({ advisoryLocks: false })
    expect(await rowOf(before?.incarnation as Incarnation)).toBeUndefined()
    expect(await rowOf(neighbour?.incarnation as Incarnation)).toBeDefined()
  })
})
