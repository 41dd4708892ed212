import { randomUUID } from 'node:crypto'
import sql, { type Sql } from 'sql-template-tag'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js'
import type { Database, Tx } from '../database/database.js'
import { FencedError, leasesOf, ownLeases, withFence } from './fence.js'
import type { Fence, Incarnation, Resource } from './lease.js'
import { createLeaseStore } from './lease-store.js'
import type { LeaseStore } from './lease-store.port.js'
import { startTestProcess, takeNow } from './testing/test-process.js'

let test: TestDatabase
let db: Database
let store: LeaseStore
let holder: Incarnation
let other: Incarnation
let fence: Fence

beforeAll(async () => {
  test = await createTestDatabase()
  db = test.db
  store = createLeaseStore(db, { advisoryLocks: true })
  holder = (await startTestProcess(db, true)).holder
  other = (await startTestProcess(db, true)).holder
})
afterAll(() => test.drop())
beforeEach(async () => {
  fence = await takeNow(store, `test:${randomUUID()}` as Resource, holder)
})

/** Any table will do for what is written; this one has a key and a text. */
const insertRow = (id: string): Sql => sql`insert into tenant (id, name) values (${id}, 'written')`

async function isWritten(id: string): Promise<boolean> {
  return (await db.query(sql`select from tenant where id = ${id}`)).length === 1
}

/** A transaction that has run `work` and stays open until the test commits it. */
async function openTx(work: (tx: Tx) => Promise<unknown>): Promise<{ commit(): Promise<void> }> {
  const worked = gate()
  const toCommit = gate()
  const committed = db.tx(async (tx) => {
    await work(tx)
    worked.open()
    await toCommit.opened
  })
  await Promise.race([worked.opened, committed])
  return {
    async commit() {
      toCommit.open()
      await committed
    },
  }
}

function gate(): { open: () => void; opened: Promise<void> } {
  let open: () => void = () => {}
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  return { open, opened }
}

/** Resolves when a statement in this database waits for a row. */
async function somebodyWaits(): Promise<void> {
  const waiting = sql`
    select from pg_locks waiting join pg_locks relation using (pid)
    where not waiting.granted and relation.relation = 'lease'::regclass
      and relation.database = (select oid from pg_database where datname = current_database())`
  await expect.poll(async () => (await db.query(waiting)).length).toBeGreaterThan(0)
}

function fencedInsert(fences: readonly Fence[], ids: readonly string[]): Promise<{ resource: Resource }[]> {
  const resources = fences.map(({ resource }) => resource)
  return db.query<{ resource: Resource }>(sql`
    with own as materialized (${ownLeases(fences)}),
    saved as (
      insert into tenant (id, name)
      select given.id, given.resource
      from own join unnest(${resources}::text[], ${ids}::uuid[]) as given (resource, id) using (resource)
    )
    select resource from own`)
}

describe('withFence', () => {
  it('commits what the holder writes and returns its result', async () => {
    const id = randomUUID()
    expect(await withFence(db, fence, (tx) => tx.execute(insertRow(id)))).toBe(1)
    expect(await isWritten(id)).toBe(true)
  })

  it('runs nothing for a holder that was taken over', async () => {
    await takeNow(store, fence.resource, other)
    let ran = false
    const late = withFence(db, fence, async () => {
      ran = true
    })
    await expect(late).rejects.toThrow(FencedError)
    await expect(late).rejects.toMatchObject({ code: 'lease_lost', resource: fence.resource })
    expect(ran).toBe(false)
  })

  it('rolls back when the work throws', async () => {
    const id = randomUUID()
    const work = withFence(db, fence, async (tx) => {
      await tx.execute(insertRow(id))
      throw new Error('no')
    })
    await expect(work).rejects.toThrow('no')
    expect(await isWritten(id)).toBe(false)
  })
})

describe('a fenced write and a takeover (lab E5)', () => {
  it('makes the takeover wait while the write is open', async () => {
    const write = await openTx((tx) => tx.query(ownLeases([fence])))
    let taken = false
    const takeover = takeNow(store, fence.resource, other).then(() => {
      taken = true
    })
    await somebodyWaits()
    expect(taken).toBe(false)
    await write.commit()
    await takeover
  })

  it('would not wait, had the fence locked FOR KEY SHARE: the control', async () => {
    const weakWrite = await openTx((tx) => tx.query(sql`${leasesOf([fence])} for key share of lease`))
    await takeNow(store, fence.resource, other)
    // The old holder's transaction is still open and can still commit what it wrote: two holders in one moment.
    await weakWrite.commit()
  })

  it('writes nothing when it had to wait for the takeover', async () => {
    const id = randomUUID()
    const takeover = await openTx((tx) => takeNow(createLeaseStore(tx, { advisoryLocks: true }), fence.resource, other))
    const write = fencedInsert([fence], [id])
    await somebodyWaits()
    await takeover.commit()
    expect(await write).toEqual([])
    expect(await isWritten(id)).toBe(false)
  })

  it('writes when the one who waited for was a renewal', async () => {
    const id = randomUUID()
    const renewal = await openTx((tx) => createLeaseStore(tx, { advisoryLocks: true }).renew(holder, [fence]))
    const write = fencedInsert([fence], [id])
    await somebodyWaits()
    await renewal.commit()
    expect(await write).toEqual([{ resource: fence.resource }])
    expect(await isWritten(id)).toBe(true)
  })
})

describe('ownLeases in a batch', () => {
  it('writes for those that are held, and names them; only the missing are fenced', async () => {
    const fences = [fence]
    for (let index = 0; index < 4; index++) {
      fences.push(await takeNow(store, `test:${randomUUID()}` as Resource, holder))
    }
    const lost = fences[2] as Fence
    await takeNow(store, lost.resource, other)
    const ids = fences.map(() => randomUUID())
    const written = await fencedInsert(fences, ids)
    const kept = fences.filter((each) => each !== lost).map(({ resource }) => resource)
    expect(written.map(({ resource }) => resource)).toEqual(kept.sort())
    expect(await Promise.all(ids.map(isWritten))).toEqual([true, true, false, true, true])
  })

  it('never deadlocks with batches in other orders, renewals and takeovers', async () => {
    const fences: Fence[] = []
    for (let index = 0; index < 20; index++) {
      fences.push(await takeNow(store, `test:${randomUUID()}` as Resource, holder))
    }
    const reversed = [...fences].reverse()
    const work: Promise<unknown>[] = []
    for (let round = 0; round < 20; round++) {
      const mine = round % 2 ? fences : reversed
      work.push(
        fencedInsert(
          mine,
          mine.map(() => randomUUID()),
        ),
        store.renew(holder, mine),
      )
      // A take may come too late; it must not block anybody for ever.
      const victim = fences[round] as Fence
      work.push(takeNow(store, victim.resource, other).catch(() => undefined))
    }
    await Promise.all(work)
  })

  it('writes nothing for nobody', async () => {
    expect(await fencedInsert([], [])).toEqual([])
  })
})
