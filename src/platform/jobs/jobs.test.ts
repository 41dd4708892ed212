import { randomUUID } from 'node:crypto'
import sql from 'sql-template-tag'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js'
import { eventually } from '../../../test/support/eventually.js'
import { buildTenant } from '../../../test/support/factories.js'
import { systemClock } from '../../kernel/clock.js'
import { AppError } from '../../kernel/errors.js'
import type { JobId, TenantId } from '../../kernel/ids.js'
import { silentLogger } from '../../kernel/logger.js'
import type { Database } from '../database/database.js'
import { createJobs, type JobSystem, type JobsOptions } from './create-jobs.js'
import { createPostgresDispatcher } from './dispatch/postgres.js'
import { claimJobs } from './job-store.js'
import { discard, done, type JobPolicy, type NewJob, retry, snooze } from './jobs.js'

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

const quick: JobPolicy = { maxAttempts: 3, retryDelaysMs: [20], timeoutMs: 20_000, concurrency: 10 }

function build(overrides: Partial<JobsOptions> = {}): JobSystem {
  const system = createJobs({
    db,
    dispatcher: createPostgresDispatcher(db),
    incarnation: randomUUID(),
    advisoryLocks: false,
    leadership: { isLeader: () => true },
    clock: systemClock,
    random: Math.random,
    logger: silentLogger,
    policies: { 'fan-out': quick, 'release-deliveries': quick },
    sweepMs: 200,
    ...overrides,
  })
  systems.add(system)
  return system
}

const newJob = (overrides: Partial<NewJob> = {}): NewJob => ({
  kind: 'fan-out',
  tenantId,
  id: randomUUID(),
  ...overrides,
})

async function enqueue(jobs: JobSystem, ...news: NewJob[]): Promise<void> {
  await db.tx((tx) => jobs.enqueueAll(tx, news))
}

async function states(): Promise<Record<string, number>> {
  const rows = await db.query<{ state: string; n: number }>(
    sql`select state, count(*)::int as n from job group by state`,
  )
  return Object.fromEntries(rows.map(({ state, n }) => [state, n]))
}

const isEmpty = async () => Object.keys(await states()).length === 0

describe('a job', () => {
  it('runs with its ids, once, and leaves no row', async () => {
    const jobs = build()
    const seen: unknown[] = []
    jobs.work('fan-out', async (job) => {
      seen.push(job)
      return done()
    })
    await jobs.runner.start()
    const id = randomUUID()
    await enqueue(jobs, newJob({ id }))
    await eventually(isEmpty, 'the job is done')
    expect(seen).toEqual([{ jobId: expect.any(String), kind: 'fan-out', tenantId, id, attempt: 1 }])
  })

  it('goes on after the tries that its work has used up already', async () => {
    const jobs = build()
    const attempts: number[] = []
    jobs.work('fan-out', async ({ attempt }) => {
      attempts.push(attempt)
      return retry('again')
    })
    await enqueue(jobs, newJob({ triesUsed: quick.maxAttempts - 1 }))
    await jobs.runner.start()
    await eventually(async () => (await states()).dead === 1, 'it is dead')
    expect(attempts).toEqual([quick.maxAttempts])
  })

  it('exists only if the transaction commits', async () => {
    const jobs = build()
    const failing = db.tx(async (tx) => {
      await jobs.enqueue(tx, newJob())
      throw new Error('no')
    })
    await expect(failing).rejects.toThrow('no')
    expect(await states()).toEqual({})
  })

  it('that was enqueued while nobody worked runs when somebody does', async () => {
    const jobs = build()
    await enqueue(jobs, newJob(), newJob())
    jobs.work('fan-out', async () => done())
    await jobs.runner.start()
    await eventually(isEmpty, 'both are done')
  })

  it('is not run before it is due', async () => {
    const jobs = build()
    const ran: number[] = []
    jobs.work('fan-out', async () => {
      ran.push(Date.now())
      return done()
    })
    await jobs.runner.start()
    const dueAt = new Date(Date.now() + 300)
    await enqueue(jobs, newJob({ dueAt }))
    await eventually(isEmpty, 'the job is done')
    expect(ran[0]).toBeGreaterThanOrEqual(dueAt.getTime())
  })

  it('is discarded when its handler says so', async () => {
    const jobs = build()
    jobs.work('fan-out', async () => discard('pointless'))
    await jobs.runner.start()
    await enqueue(jobs, newJob())
    await eventually(isEmpty, 'the job is gone')
  })

  it('is aborted when it takes too long, and tried again', async () => {
    const jobs = build({ policies: { 'fan-out': { ...quick, timeoutMs: 50 } } })
    const attempts: number[] = []
    jobs.work('fan-out', async (job, signal) => {
      attempts.push(job.attempt)
      if (job.attempt > 1) return done()
      await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
      return done()
    })
    await jobs.runner.start()
    await enqueue(jobs, newJob())
    await eventually(isEmpty, 'the job is done')
    expect(attempts).toEqual([1, 2])
  })

  it('has no second one of its kind and dedupe key while it lives; another tenant may', async () => {
    const jobs = build()
    const other = await buildTenant(db)
    await enqueue(jobs, newJob({ dedupe: 'daily' }), newJob({ dedupe: 'daily' }))
    await enqueue(jobs, newJob({ dedupe: 'daily' }))
    expect(await states()).toEqual({ ready: 1 })
    await enqueue(
      jobs,
      newJob({ dedupe: 'daily', kind: 'release-deliveries' }),
      newJob({ dedupe: 'daily', tenantId: other }),
    )
    expect(await states()).toEqual({ ready: 3 })
    jobs.work('fan-out', async () => done())
    jobs.work('release-deliveries', async () => done())
    await jobs.runner.start()
    await eventually(isEmpty, 'all are done')
    await enqueue(jobs, newJob({ dedupe: 'daily' }))
    await eventually(isEmpty, 'one more is done')
  })

  it('has one handler per kind', () => {
    const jobs = build()
    jobs.work('fan-out', async () => done())
    expect(() => jobs.work('fan-out', async () => done())).toThrow(/already/)
  })
})

describe('a job that fails', () => {
  it('is tried again after its delay, and kept as a dead letter after the last try', async () => {
    const dead: unknown[] = []
    const jobs = build({
      onDead: async (_tx, letter) => {
        dead.push(letter.error)
      },
    })
    const attempts: number[] = []
    jobs.work('fan-out', async (job) => {
      attempts.push(job.attempt)
      if (job.attempt === 2) throw new AppError('command_timeout')
      return retry(`try ${job.attempt}`)
    })
    await jobs.runner.start()
    const id = randomUUID()
    await enqueue(jobs, newJob({ id }))
    await eventually(async () => (await states()).dead === 1, 'the job is dead')
    expect(attempts).toEqual([1, 2, 3])
    expect(dead).toEqual(['try 3'])
    const letters = await jobs.deadLetters(tenantId, { limit: 10 })
    expect(letters).toMatchObject([{ id, kind: 'fan-out', attempt: 3, error: 'try 3', diedAt: expect.any(Date) }])
  })

  it('waits for as long as its handler says', async () => {
    const jobs = build()
    jobs.work('fan-out', async () => retry('busy', 3_600_000))
    await jobs.runner.start()
    await enqueue(jobs, newJob())
    const dueInMs = async () => {
      const [row] = await db.query<{ ms: number }>(
        sql`select extract(epoch from due_at - now())::float8 * 1000 as ms from job where state = 'ready' and attempt = 1`,
      )
      return row?.ms ?? 0
    }
    await eventually(async () => (await dueInMs()) > 3_500_000, 'the job waits')
  })

  it('does not die with the transaction in which that is told', async () => {
    let failures = 0
    const jobs = build({
      policies: { 'fan-out': { ...quick, maxAttempts: 1, timeoutMs: 10 } },
      onDead: async () => {
        failures += 1
        throw new Error('cannot tell')
      },
    })
    jobs.work('fan-out', async () => retry('no'))
    await jobs.runner.start()
    await enqueue(jobs, newJob())
    await eventually(() => failures === 1, 'its death was to be told')
    await jobs.runner.stop()
    expect(await states()).toEqual({ running: 1 })
  })

  it('does not count a snooze as a try', async () => {
    const jobs = build()
    const attempts: number[] = []
    jobs.work('fan-out', async (job) => {
      attempts.push(job.attempt)
      return attempts.length < 5 ? snooze(new Date()) : done()
    })
    await jobs.runner.start()
    await enqueue(jobs, newJob())
    await eventually(isEmpty, 'the job is done')
    expect(attempts).toEqual([1, 1, 1, 1, 1])
  })

  it('does not hold up others: 1 % poison dies, the rest flows', async () => {
    const jobs = build({ policies: { 'fan-out': { ...quick, concurrency: 50, retryDelaysMs: [1] } } })
    const ids = Array.from({ length: 1_000 }, () => randomUUID())
    const poison = new Set<string>(ids.filter((_, index) => index % 100 === 7))
    const fine = new Set<string>()
    jobs.work('fan-out', async ({ id }) => {
      if (poison.has(id)) throw new Error('poison')
      fine.add(id)
      return done()
    })
    await enqueue(jobs, ...ids.map((id) => newJob({ id })))
    await jobs.runner.start()
    await eventually(async () => (await states()).dead === 10 && fine.size === 990, 'all are settled')
    expect(await states()).toEqual({ dead: 10 })
  })
})

describe('dead letters', () => {
  async function bury(...news: NewJob[]): Promise<JobSystem> {
    const jobs = build({ policies: { 'fan-out': { ...quick, maxAttempts: 1 } } })
    jobs.work('fan-out', async () => retry('no'))
    await enqueue(jobs, ...news)
    await jobs.runner.start()
    await eventually(async () => (await states()).dead === news.length, 'all are dead')
    await jobs.runner.stop()
    return jobs
  }
  const lettersOf = (jobs: JobSystem) => jobs.deadLetters(tenantId, { limit: 100 })

  it('are shown page by page, to their tenant only', async () => {
    const jobs = await bury(newJob(), newJob(), newJob())
    const all = await lettersOf(jobs)
    const [first] = await jobs.deadLetters(tenantId, { limit: 1 })
    const after = await jobs.deadLetters(tenantId, { limit: 10, after: first?.jobId as JobId })
    expect([first, ...after]).toEqual(all)
    expect(all.map(({ jobId }) => jobId)).toEqual(
      all
        .map(({ jobId }) => jobId)
        .toSorted()
        .reverse(),
    )
    expect(all).toHaveLength(3)
    const other = await buildTenant(db)
    expect(await jobs.deadLetters(other, { limit: 10 })).toEqual([])
    expect(await jobs.retryDead(other, first?.jobId as JobId)).toBe(false)
    expect(await jobs.discardDead(other, first?.jobId as JobId)).toBe(false)
  })

  it('run again with fresh tries when a person says so', async () => {
    const buried = await bury(newJob({ key: 'a lane' }), newJob())
    for (const { jobId } of await lettersOf(buried)) expect(await buried.retryDead(tenantId, jobId)).toBe(true)
    const jobs = build()
    const attempts: number[] = []
    jobs.work('fan-out', async ({ attempt }) => {
      attempts.push(attempt)
      return done()
    })
    await jobs.runner.start()
    await eventually(isEmpty, 'all are done')
    expect(attempts).toEqual([1, 1])
  })

  it('give way to a live job with the same dedupe key', async () => {
    const jobs = await bury(newJob({ dedupe: 'once' }))
    await enqueue(jobs, newJob({ dedupe: 'once' }))
    const [letter] = await lettersOf(jobs)
    expect(await jobs.retryDead(tenantId, letter?.jobId as JobId)).toBe(true)
    expect(await states()).toEqual({ ready: 1 })
  })

  it('can be thrown away', async () => {
    const jobs = await bury(newJob())
    const [letter] = await lettersOf(jobs)
    expect(await jobs.discardDead(tenantId, letter?.jobId as JobId)).toBe(true)
    expect(await jobs.discardDead(tenantId, letter?.jobId as JobId)).toBe(false)
    expect(await isEmpty()).toBe(true)
  })
})

describe('a worker that goes away', () => {
  const crashed = randomUUID()
  /** As a worker that claimed and was killed. */
  async function claimAndCrash(claimMs: number, worker = crashed): Promise<void> {
    const claim = await claimJobs(db, { kind: 'fan-out', limit: 10, worker, token: randomUUID(), claimMs })
    expect(claim.jobs).toHaveLength(1)
  }

  it('loses its claim when that runs out, and the job runs elsewhere, with all its attempts', async () => {
    const jobs = build()
    await enqueue(jobs, newJob())
    await claimAndCrash(0)
    const attempts: number[] = []
    jobs.work('fan-out', async ({ attempt }) => {
      attempts.push(attempt)
      return done()
    })
    await jobs.runner.start()
    await eventually(isEmpty, 'the job is done')
    expect(attempts).toEqual([1])
  })

  it('is told of in one line for each kind, however many jobs it took with it', async () => {
    const lines: unknown[] = []
    const warn = (_category: string, message: string, fields: unknown) => lines.push([message, fields])
    const jobs = build({ logger: { ...silentLogger, warn } })
    await enqueue(jobs, ...Array.from({ length: 7 }, () => newJob()), newJob({ kind: 'release-deliveries' }))
    for (const kind of ['fan-out', 'release-deliveries'] as const) {
      await claimJobs(db, { kind, limit: 10, worker: crashed, token: randomUUID(), claimMs: 0 })
    }
    jobs.work('fan-out', async () => done())
    jobs.work('release-deliveries', async () => done())
    await jobs.runner.start()
    await eventually(isEmpty, 'all are done')
    expect(lines).toEqual([
      ['jobs were abandoned by their worker', { kind: 'fan-out', count: 7 }],
      ['jobs were abandoned by their worker', { kind: 'release-deliveries', count: 1 }],
    ])
  })

  it('takes a job that keeps killing its workers to the dead letters in the end', async () => {
    const jobs = build()
    await enqueue(jobs, newJob())
    await db.execute(sql`update job set abandoned = 19`)
    await claimAndCrash(0)
    jobs.work('fan-out', async () => done())
    await jobs.runner.start()
    await eventually(
      async () => (await db.query(sql`select 1 from job where state = 'dead'`)).length === 1,
      'it is dead',
    )
  })

  it('loses it within seconds where processes prove that they live', async () => {
    const jobs = build({ advisoryLocks: true })
    await enqueue(jobs, newJob())
    await claimAndCrash(3_600_000)
    jobs.work('fan-out', async () => done())
    await jobs.runner.start()
    await eventually(isEmpty, 'the job is done')
  })

  it('keeps it while it lives', async () => {
    const lock = 4_711n
    await db.execute(sql`
      insert into process (incarnation, incarnation_lock, replica, role, slot, version)
      values (${crashed}, ${lock}, 'r', 'worker', 0, '0')`)
    const session = await db.session(() => {})
    await session.query(sql`select pg_advisory_lock_shared(${lock})`)
    const jobs = build({ advisoryLocks: true })
    await enqueue(jobs, newJob())
    await claimAndCrash(3_600_000)
    // Another claim, of a worker that is gone: taken back at the second look, and so would be the first one.
    await enqueue(jobs, newJob())
    await claimAndCrash(3_600_000, randomUUID())
    let ran = 0
    jobs.work('fan-out', async () => {
      ran += 1
      return done()
    })
    await jobs.runner.start()
    await eventually(() => ran === 1, 'the other job has run')
    await eventually(async () => (await states()).running === 1, 'only the one of the living worker is left')
    await session.release()
    await eventually(isEmpty, 'the abandoned job has run too')
  })

  it('dies in the end when the job kills every worker', async () => {
    const jobs = build({ policies: { 'fan-out': { ...quick, maxAttempts: 1 } } })
    await enqueue(jobs, newJob())
    await claimAndCrash(0)
    jobs.work('fan-out', async () => expect.fail('must not run again'))
    await jobs.runner.start()
    await eventually(async () => (await states()).dead === 1, 'the job is dead')
  })

  it('cannot settle what another has taken over', async () => {
    const slow = build({ policies: { 'fan-out': { ...quick, concurrency: 1 } } })
    let release = (): void => {}
    let started = false
    slow.work('fan-out', async () => {
      started = true
      await new Promise<void>((resolve) => {
        release = resolve
      })
      return done()
    })
    await enqueue(slow, newJob())
    await slow.runner.start()
    await eventually(() => started, 'the slow worker has begun')
    const token = randomUUID()
    await db.execute(sql`update job set token = ${token}, worker = ${crashed}`)
    release()
    await slow.runner.stop()
    expect(await db.query(sql`select state, token from job`)).toEqual([{ state: 'running', token }])
  })
})

describe('a worker that stops', () => {
  it('lets what runs finish, and begins nothing more', async () => {
    const jobs = build({ policies: { 'fan-out': { ...quick, concurrency: 1 } } })
    let finish = (): void => {}
    let begun = 0
    jobs.work('fan-out', async () => {
      begun += 1
      await new Promise<void>((resolve) => {
        finish = resolve
      })
      return done()
    })
    await enqueue(jobs, newJob(), newJob())
    await jobs.runner.start()
    await eventually(() => begun === 1, 'the first has begun')
    const stopped = jobs.runner.stop()
    finish()
    await stopped
    await jobs.runner.stop()
    expect(begun).toBe(1)
    expect(await states()).toEqual({ ready: 1 })
  })

  it('aborts what takes too long, and that try does not count', async () => {
    const jobs = build({ drainMs: 10 })
    let begun = 0
    jobs.work('fan-out', async (_job, signal) => {
      begun += 1
      await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
      return done()
    })
    await enqueue(jobs, newJob())
    await jobs.runner.start()
    await eventually(() => begun === 1, 'it has begun')
    await jobs.runner.stop()
    expect(await db.query(sql`select state, attempt from job`)).toEqual([{ state: 'ready', attempt: 0 }])
  })

  it('may stop without having started', async () => {
    await build().runner.stop()
  })
})
