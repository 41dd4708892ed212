/** Jobs that begin where they were made, without a wake-up and without a claim. */
import { randomUUID } from 'node:crypto'
import sql, { type Sql } from 'sql-template-tag'
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js'
import { eventually } from '../../../test/support/eventually.js'
import { buildTenant } from '../../../test/support/factories.js'
import { readWhole } from '../../../test/support/kept-plan.js'
import { systemClock } from '../../kernel/clock.js'
import type { TenantId } from '../../kernel/ids.js'
import { silentLogger } from '../../kernel/logger.js'
import type { Database } from '../database/database.js'
import { createJobs, type JobSystem } from './create-jobs.js'
import { type Dispatcher, done, type InsertedJob, type JobPolicy, type Reservation } from './jobs.js'

let test: TestDatabase
let db: Database
let tenantId: TenantId
const systems = new Set<JobSystem>()

beforeAll(async () => {
  test = await createTestDatabase()
  db = test.db
})
afterAll(() => test.drop())
beforeEach(async () => {
  tenantId = await buildTenant(db)
})
afterEach(async () => {
  await Promise.all([...systems].map(({ runner }) => runner.stop()))
  systems.clear()
  await db.execute(sql`delete from job`)
})

const policy: JobPolicy = { maxAttempts: 3, retryDelaysMs: [20], timeoutMs: 20_000, concurrency: 3 }
const NEVER_MS = 3_600_000
/** Nobody is ever woken: what runs has begun where it was made. */
const deaf: Dispatcher = { start: async () => {}, stop: async () => {}, onWakeUp() {} }

/** A worker that hears nothing and looks for itself only once, at its start. */
async function startWorker(handle: (id: string) => Promise<void>, sweepMs = NEVER_MS): Promise<JobSystem> {
  const system = createJobs({
    ...{ db, dispatcher: deaf, incarnation: randomUUID(), advisoryLocks: false, leadership: { isLeader: () => true } },
    ...{ clock: systemClock, random: Math.random, logger: silentLogger, sweepMs },
    policies: { 'fan-out': policy },
  })
  systems.add(system)
  system.work('fan-out', async ({ id }) => {
    await handle(id)
    return done()
  })
  await system.runner.start()
  // The look at the start is over when a first job could begin here.
  await eventually(async () => {
    const places = system.reserve('fan-out', 1)
    const [first] = await insert(places, [randomUUID()])
    places.begin(first ? [first] : [])
    if (first?.claimed) return true
    await db.execute(sql`delete from job where id = ${first?.jobId}`)
    return false
  }, 'there are places')
  return system
}

const source = (ids: readonly string[]): Sql =>
  sql`(select id as subject_id, ${tenantId}::uuid as tenant_id from unnest(${ids}::uuid[]) as s (id)) s`

const insert = (places: Reservation, ids: readonly string[]) => db.query<InsertedJob>(places.insertFrom(source(ids)))

const isEmpty = async () => (await db.query(sql`select from job`)).length === 0

it('as many as there are places begin at once, the others are left for whoever claims them', async () => {
  const begun: string[] = []
  let finish = (): void => {}
  const finished = new Promise<void>((resolve) => {
    finish = resolve
  })
  let isWarm = false
  const jobs = await startWorker(async (id) => {
    if (!isWarm) return
    begun.push(id)
    await finished
  })
  await eventually(isEmpty, 'the first job is done')
  isWarm = true
  const ids = Array.from({ length: 5 }, () => randomUUID()).toSorted()
  const places = jobs.reserve('fan-out', ids.length)
  const inserted = await insert(places, ids)
  expect(inserted.filter(({ claimed }) => claimed)).toHaveLength(policy.concurrency)
  expect(jobs.reserve('fan-out', 1).insertFrom(source([])).values).toContain(0)
  places.begin(inserted)
  await eventually(async () => begun.length === policy.concurrency, 'three have begun')
  expect(begun.toSorted()).toEqual(ids.slice(0, policy.concurrency))
  const ready = await db.query<{ id: string }>(sql`select subject_id as id from job where state = 'ready' order by id`)
  expect(ready).toHaveLength(2)
  finish()
})

it('places that were not used are free again', async () => {
  const jobs = await startWorker(async () => {})
  await eventually(isEmpty, 'the first job is done')
  for (let round = 0; round < 2 * policy.concurrency; round++) jobs.reserve('fan-out', policy.concurrency).begin([])
  const places = jobs.reserve('fan-out', policy.concurrency)
  const inserted = await insert(places, [randomUUID(), randomUUID(), randomUUID()])
  expect(inserted.every(({ claimed }) => claimed)).toBe(true)
  places.begin(inserted)
  await eventually(isEmpty, 'all are done')
})

it('a job that is born claimed and never begun is run by somebody else in the end', async () => {
  const [maker, other]: string[][] = [[], []]
  const jobs = await startWorker(async (id) => void maker?.push(id))
  await eventually(isEmpty, 'the first job is done')
  const id = randomUUID()
  // The answer to the insertion is lost, and with time the claim runs out.
  await insert(jobs.reserve('fan-out', 1), [id])
  await db.execute(sql`update job set running_until = now()`)
  await jobs.runner.stop()
  await startWorker(async (ran) => void other?.push(ran), 100)
  await eventually(async () => other?.includes(id) === true, 'it runs elsewhere')
  expect(maker).not.toContain(id)
})

it('where nobody works the kind, all are left for others', async () => {
  const idle = createJobs({
    ...{ db, dispatcher: deaf, incarnation: randomUUID(), advisoryLocks: false, leadership: { isLeader: () => true } },
    ...{ clock: systemClock, random: Math.random, logger: silentLogger },
  })
  const places = idle.reserve('fan-out', 1)
  const inserted = await insert(places, [randomUUID()])
  places.begin(inserted)
  expect(inserted).toMatchObject([{ tenantId, claimed: false }])
  expect(await readWhole(db, places.insertFrom(source([])))).toEqual([])
})
