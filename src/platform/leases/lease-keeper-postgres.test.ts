/**
 * The whole protocol on a real server: two processes, their advisory locks, their keepers. At three tenths of the default
 * TTL: with less, a busy machine would lose leases that it should keep.
 */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { createTestDatabase, onServer, type TestDatabase } from '../../../test/support/database.js'
import { systemClock } from '../../kernel/clock.js'
import { silentLogger } from '../../kernel/logger.js'
import { seededRandom } from '../../kernel/random.js'
import { createIncarnation } from './incarnation.js'
import { leaseTerms, type Resource } from './lease.js'
import { createLeaseKeeper, type LeaseKeeper } from './lease-keeper.js'
import { createLeaseStore } from './lease-store.js'
import type { LeaseStore } from './lease-store.port.js'
import { silence } from './testing/test-cluster.js'

const terms = leaseTerms(13_500)
const resources = Array.from({ length: 20 }, (_, index) => `r:${index}` as Resource)

let test: TestDatabase
const ends: (() => Promise<unknown>)[] = []

beforeAll(async () => {
  test = await createTestDatabase()
})
afterAll(async () => {
  for (const end of ends.reverse()) await end()
  await test.drop()
})

interface Process {
  readonly keeper: LeaseKeeper
  readonly losses: string[]
  pollCount(): number
  /** PostgreSQL ends the session that holds the advisory lock, as in a restart. */
  breakSession(): Promise<void>
  /** kill -9, as the others see it. */
  die(): Promise<void>
}

async function startProcess(slot: number): Promise<Process> {
  const { db } = test
  const common = { clock: systemClock, random: seededRandom(slot), logger: silentLogger }
  const incarnation = createIncarnation({ ...common, db, replica: 'r', role: 'gateway', slot, version: '1' })
  await incarnation.start()
  const store: LeaseStore = { ...createLeaseStore(db, { advisoryLocks: true }) }
  const losses: string[] = []
  let pollCount = 0
  const keeper = createLeaseKeeper({
    ...common,
    store,
    holder: incarnation.id,
    terms,
    async wanted() {
      pollCount += 1
      return resources
    },
    onLost: ({ resource }, reason) => losses.push(`${resource} ${reason}`),
  })
  await keeper.start()
  ends.push(
    () => keeper.stop(),
    () => incarnation.stop(),
  )
  return {
    keeper,
    losses,
    pollCount: () => pollCount,
    breakSession: () =>
      onServer(test.url, async (query) => {
        await query(`
          select pg_terminate_backend(pid) from pg_locks join process
            on incarnation_lock = (classid::bigint << 32) | objid::bigint
          where locktype = 'advisory' and incarnation = '${incarnation.id}'`)
      }),
    async die() {
      silence(store)
      await incarnation.stop()
    },
  }
}

it('keeps all leases through broken sessions and beyond the trust, and passes them on when the holder dies', async () => {
  const holder = await startProcess(0)
  await expect.poll(() => holder.keeper.leases().length).toBe(resources.length)
  const other = await startProcess(1)
  const pollsToSee = other.pollCount() + Math.ceil(terms.trustMs / terms.pollEveryMs)
  await holder.breakSession()
  await expect.poll(() => other.pollCount()).toBeGreaterThan(pollsToSee)
  expect([holder.losses, other.keeper.leases()]).toEqual([[], []])
  expect(holder.keeper.leases().every((lease) => lease.isTrusted())).toBe(true)

  await holder.die()
  await expect.poll(() => other.keeper.leases().length).toBe(resources.length)
  expect(other.keeper.leases().map(({ epoch }) => epoch)).toEqual(resources.map(() => 2n))
})
