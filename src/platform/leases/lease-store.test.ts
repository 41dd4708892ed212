import { randomUUID } from 'node:crypto'
import sql from 'sql-template-tag'
import { afterAll, describe, expect, it } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js'
import { createMemoryLeaseStore, createMemoryLeases } from './explorer/memory-leases.js'
import { withFence } from './fence.js'
import type { Fence, Incarnation, Resource } from './lease.js'
import { type LeaseStoreSubject, leaseStoreContract } from './lease-store.contract.js'
import { createLeaseStore, LEASE_CHANNEL } from './lease-store.js'
import { startTestProcess, takeNow } from './testing/test-process.js'

const databases: TestDatabase[] = []
afterAll(async () => {
  for (const database of databases) await database.drop()
})

async function newDatabase(): Promise<TestDatabase> {
  const database = await createTestDatabase()
  databases.push(database)
  return database
}

describe('in PostgreSQL', () => {
  leaseStoreContract(async (): Promise<LeaseStoreSubject> => {
    const { db } = await newDatabase()
    // Any table will do for what is written; this one has a key and a text.
    const rows = new Map<Resource, string>()
    const rowOf = (resource: Resource): string => {
      const id = rows.get(resource) ?? randomUUID()
      rows.set(resource, id)
      return id
    }
    return {
      store: createLeaseStore(db, { advisoryLocks: true }),
      startProcess: ({ lock } = { lock: true }) => startTestProcess(db, lock),
      write: (fence, value) =>
        withFence(db, fence, async (tx) => {
          await tx.execute(sql`
            insert into tenant (id, name) values (${rowOf(fence.resource)}, ${value})
            on conflict (id) do update set name = excluded.name`)
        }),
      async read(resource) {
        const id = rowOf(resource)
        const [row] = await db.query<{ name: string }>(sql`select name from tenant where id = ${id}`)
        return row?.name
      },
    }
  })

  it('says nothing of locks where they cannot be used', async () => {
    const { db } = await newDatabase()
    const store = createLeaseStore(db, { advisoryLocks: false })
    const process = await startTestProcess(db, true)
    const fence = await takeNow(store, 'r' as Resource, process.holder)
    await process.loseLock()
    expect(await store.poll([fence.resource])).toMatchObject([{ holder: process.holder, holderGone: null }])
  })

  it('writes the history in the statements that take and release, and names the holder', async () => {
    const { db } = await newDatabase()
    const store = createLeaseStore(db, { advisoryLocks: true })
    const resource = 'r' as Resource
    const [first, second] = [await startTestProcess(db, true), await startTestProcess(db, true)]
    await takeNow(store, resource, first.holder)
    const [seen] = await store.poll([resource])
    expect(seen?.holderName).toBe('test/test/0')
    const token = randomUUID()
    const request = { resource, holder: second.holder, token, seenEpoch: 1n, seenRenewSeq: 1n, how: 'dead' } as const
    await store.take(request)
    expect(await store.take({ ...request, how: 'expired' })).toBeUndefined()
    await store.release({ resource, epoch: 2n, token }, 'balanced')
    await store.release({ resource, epoch: 2n, token }, 'stopped')
    const history = await db.query(sql`
      select epoch, holder, replica || '/' || role || '/' || slot as name, how, ended_at is not null as ended, why
      from lease_history order by epoch`)
    const name = 'test/test/0'
    expect(history).toEqual([
      { epoch: 1n, holder: first.holder, name, how: 'free', ended: true, why: 'dead' },
      { epoch: 2n, holder: second.holder, name, how: 'dead', ended: true, why: 'balanced' },
    ])
  })

  it('gives an epoch again that a failover of PostgreSQL has lost, though the history knows it', async () => {
    const { db } = await newDatabase()
    const store = createLeaseStore(db, { advisoryLocks: true })
    const { holder } = await startTestProcess(db, true)
    const { resource } = await takeNow(store, 'r' as Resource, holder)
    await takeNow(store, resource, holder)
    await db.execute(sql`update lease set epoch = 1 where resource = ${resource}`)
    expect((await takeNow(store, resource, holder)).epoch).toBe(2n)
  })

  it('tells who listens that a lease is free', async () => {
    const { db } = await newDatabase()
    const store = createLeaseStore(db, { advisoryLocks: true })
    let hear: (payload: string) => void = () => {}
    const heard = new Promise<string>((resolve) => {
      hear = resolve
    })
    await db.listen(LEASE_CHANNEL, hear)
    const { holder } = await startTestProcess(db, true)
    const fence = await takeNow(store, 'r' as Resource, holder)
    await store.release(fence, 'stopped')
    expect(await heard).toBe('r')
  })

  it('renews without a deadlock while others renew and write the same leases in another order', async () => {
    const { db } = await newDatabase()
    const store = createLeaseStore(db, { advisoryLocks: true })
    const { holder } = await startTestProcess(db, true)
    const fences: Fence[] = []
    for (let index = 0; index < 30; index++) fences.push(await takeNow(store, `r:${index}` as Resource, holder))
    const reversed = [...fences].reverse()
    const rounds = Array.from({ length: 40 }, (_, round) => store.renew(holder, round % 2 ? fences : reversed))
    for (const renewed of await Promise.all(rounds)) expect(renewed.size).toBe(30)
  })
})

describe('in memory', () => {
  leaseStoreContract(async (): Promise<LeaseStoreSubject> => {
    const leases = createMemoryLeases()
    const written = new Map<Resource, string>()
    return {
      store: createMemoryLeaseStore(leases),
      async startProcess({ lock } = { lock: true }) {
        const holder = randomUUID() as Incarnation
        if (lock) leases.setLock(holder, 'held')
        return {
          holder,
          loseLock: async () => leases.setLock(holder, 'free'),
          regainLock: async () => leases.setLock(holder, 'held'),
        }
      },
      async write(fence, value) {
        leases.fenced(fence, () => written.set(fence.resource, value))
      },
      read: async (resource) => written.get(resource),
    }
  })
})
