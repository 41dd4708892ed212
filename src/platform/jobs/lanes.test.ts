import { randomUUID } from 'node:crypto'
import sql from 'sql-template-tag'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { createTestDatabase, PATIENT, type TestDatabase } from '../../../test/support/database.js'
import { eventually } from '../../../test/support/eventually.js'
import { buildTenant } from '../../../test/support/factories.js'
import { systemClock } from '../../kernel/clock.js'
import type { TenantId } from '../../kernel/ids.js'
import { silentLogger } from '../../kernel/logger.js'
import { seededRandom } from '../../kernel/random.js'
import type { Database } from '../database/database.js'
import { createPostgres } from '../database/postgres.js'
import { createJobs, type JobSystem } from './create-jobs.js'
import { createPostgresDispatcher } from './dispatch/postgres.js'
import { done, type Fate, type Job, type JobPolicy, type NewJob, retry, snooze } from './jobs.js'

let test: TestDatabase
let db: Database
let tenantId: TenantId
const systems: { jobs: JobSystem; own: Database }[] = []

beforeAll(async () => {
  test = await createTestDatabase()
  db = test.db
  tenantId = await buildTenant(db)
})
afterEach(async () => {
  await Promise.all(systems.map(({ jobs }) => jobs.runner.stop()))
  await Promise.all(systems.splice(0).map(({ own }) => own.close()))
  await db.execute(sql`delete from job`)
})
afterAll(() => test.drop())

const policy: JobPolicy = { maxAttempts: 5, retryDelaysMs: [1], timeoutMs: 30_000, concurrency: 8 }

/** A replica with connections of its own. */
function replica(handler: (job: Job) => Promise<Fate>): JobSystem {
  const pool = { url: test.url, max: 4, applicationName: 'replica', onError: () => {}, timeouts: PATIENT }
  const own = createPostgres(pool)
  const jobs = createJobs({
    db: own,
    dispatcher: createPostgresDispatcher(own),
    incarnation: randomUUID(),
    advisoryLocks: false,
    leadership: { isLeader: () => false },
    clock: systemClock,
    random: Math.random,
    logger: silentLogger,
    policies: { 'fan-out': policy, 'release-deliveries': policy },
  })
  jobs.work('fan-out', handler)
  jobs.work('release-deliveries', handler)
  systems.push({ jobs, own })
  return jobs
}

const isEmpty = async () => (await db.query(sql`select from job limit 1`)).length === 0

const jobRows = () => db.query<{ id: string; state: string }>(sql`select subject_id as id, state from job order by seq`)

async function isSomebodyWaiting(): Promise<boolean> {
  const rows = await db.query(sql`
    select from pg_locks where locktype = 'advisory' and not granted
      and database = (select oid from pg_database where datname = current_database())`)
  return rows.length > 0
}

describe('jobs with a key', () => {
  it('run one after another in order of enqueueing: 2,000 jobs, 100 keys, 6 replicas, retries and snoozes among them', async () => {
    const random = seededRandom(2)
    const keyOf = new Map<string, number>()
    const running = new Map<number, string>()
    const finished = new Map<number, string[]>()
    const violations: string[] = []
    const handler = async ({ id, attempt }: Job): Promise<Fate> => {
      const key = keyOf.get(id) ?? -1
      if (running.has(key)) violations.push(`${id} began while ${running.get(key)} ran`)
      running.set(key, id)
      await new Promise((resolve) => setImmediate(resolve))
      const roll = random()
      running.delete(key)
      if (roll < 0.05 && attempt < policy.maxAttempts) return retry('again')
      if (roll < 0.1) return snooze(new Date())
      finished.set(key, [...(finished.get(key) ?? []), id])
      return done()
    }
    const replicas = Array.from({ length: 6 }, () => replica(handler))
    await Promise.all(replicas.map(({ runner }) => runner.start()))

    const enqueued = new Map<number, string[]>()
    const batches = Array.from({ length: 100 }, () =>
      Array.from({ length: 20 }, (): [number, NewJob] => {
        const [key, id] = [Math.floor(random() * 100), randomUUID()]
        const kind = random() < 0.5 ? 'fan-out' : 'release-deliveries'
        keyOf.set(id, key)
        return [key, { kind, tenantId, id, key: `key ${key}` }]
      }),
    )
    // One after another, so that the order is known, while the replicas are already at work.
    for (const [index, batch] of batches.entries()) {
      await db.tx((tx) =>
        (replicas[index % 6] as JobSystem).enqueueAll(
          tx,
          batch.map(([, job]) => job),
        ),
      )
      for (const [key, { id }] of batch) enqueued.set(key, [...(enqueued.get(key) ?? []), id])
    }
    await eventually(isEmpty, 'all jobs are done')
    expect(violations).toEqual([])
    expect(finished).toEqual(enqueued)
  })

  it('never overlap or get stuck when many transactions enqueue at once', async () => {
    const running = new Set<string>()
    const keyOf = new Map<string, string>()
    let [overlaps, ran] = [0, 0]
    const handler = async ({ id }: Job): Promise<Fate> => {
      const key = keyOf.get(id) ?? ''
      if (running.has(key)) overlaps += 1
      running.add(key)
      await new Promise((resolve) => setImmediate(resolve))
      running.delete(key)
      ran += 1
      return done()
    }
    const replicas = Array.from({ length: 4 }, () => replica(handler))
    await Promise.all(replicas.map(({ runner }) => runner.start()))
    const enqueueSome = async (jobs: JobSystem, round: number) => {
      const news = [0, 1, 2].map((n): NewJob => {
        const id = randomUUID()
        keyOf.set(id, `key ${(round + n) % 5}`)
        return { kind: 'fan-out', tenantId, id, key: `key ${(round + n) % 5}` }
      })
      await db.tx((tx) => jobs.enqueueAll(tx, news))
    }
    await Promise.all(Array.from({ length: 200 }, (_, round) => enqueueSome(replicas[round % 4] as JobSystem, round)))
    await eventually(isEmpty, 'all jobs are done')
    expect({ overlaps, ran }).toEqual({ overlaps: 0, ran: 600 })
  })

  it('take their order from the commits: a second transaction waits for the first', async () => {
    const jobs = replica(async () => done())
    const [first, second] = [randomUUID(), randomUUID()]
    let waiting: Promise<void> = Promise.resolve()
    await db.tx(async (tx) => {
      await jobs.enqueue(tx, { kind: 'fan-out', tenantId, id: first, key: 'one' })
      waiting = db.tx((other) => jobs.enqueue(other, { kind: 'fan-out', tenantId, id: second, key: 'one' }))
      await eventually(async () => (await jobRows()).length > 0 || (await isSomebodyWaiting()), 'the second one waits')
    })
    await waiting
    expect(await jobRows()).toEqual([
      { id: first, state: 'ready' },
      { id: second, state: 'waiting' },
    ])
  })

  it('are not forgotten when they are enqueued while the one before them finishes', async () => {
    const ran: string[] = []
    const [first, second] = [randomUUID(), randomUUID()]
    let finish = (): void => {}
    const finished = new Promise<void>((resolve) => {
      finish = resolve
    })
    const jobs = replica(async ({ id }) => {
      ran.push(id)
      if (id === first) await finished
      return done()
    })
    await jobs.runner.start()
    await db.tx((tx) => jobs.enqueue(tx, { kind: 'fan-out', tenantId, id: first, key: 'one' }))
    await eventually(() => ran.length === 1, 'the first one runs')
    await db.tx(async (tx) => {
      await jobs.enqueue(tx, { kind: 'fan-out', tenantId, id: second, key: 'one' })
      finish()
      const isSettling = async () => (await jobRows()).length === 0 || (await isSomebodyWaiting())
      await eventually(isSettling, 'the first one is being settled')
    })
    await eventually(isEmpty, 'both are done')
    expect(ran).toEqual([first, second])
  })

  it('go on behind one that dies', async () => {
    const ran: string[] = []
    const [poison, next] = [randomUUID(), randomUUID()]
    const jobs = replica(async ({ id }) => {
      ran.push(id)
      return id === poison ? retry('no', 0) : done()
    })
    await db.tx((tx) =>
      jobs.enqueueAll(
        tx,
        [poison, next].map((id) => ({ kind: 'fan-out', tenantId, id, key: 'one' })),
      ),
    )
    await jobs.runner.start()
    await eventually(() => ran.includes(next), 'the one behind has run')
    expect(ran).toEqual([...Array(policy.maxAttempts).fill(poison), next])
  })

  it('wait behind one that is due later, and behind nobody of another tenant', async () => {
    const ran: string[] = []
    const jobs = replica(async ({ id }) => {
      ran.push(id)
      return done()
    })
    const other = await buildTenant(db)
    const [later, behind, foreign] = [randomUUID(), randomUUID(), randomUUID()]
    await db.tx((tx) =>
      jobs.enqueueAll(tx, [
        { kind: 'fan-out', tenantId, id: later, key: 'one', dueAt: new Date(Date.now() + 400) },
        { kind: 'fan-out', tenantId, id: behind, key: 'one' },
        { kind: 'fan-out', tenantId: other, id: foreign, key: 'one' },
      ]),
    )
    await jobs.runner.start()
    await eventually(isEmpty, 'all are done')
    expect(ran).toEqual([foreign, later, behind])
  })
})
