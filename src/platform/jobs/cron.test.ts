import sql from 'sql-template-tag'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js'
import { eventually } from '../../../test/support/eventually.js'
import { type Clock, systemClock } from '../../kernel/clock.js'
import { silentLogger } from '../../kernel/logger.js'
import type { Service } from '../../kernel/service.js'
import type { Database } from '../database/database.js'
import { type CronTask, createCron, latestDue, parseCron } from './cron.js'

let test: TestDatabase
let db: Database
const schedulers = new Set<Service>()

beforeAll(async () => {
  test = await createTestDatabase()
  db = test.db
})
afterEach(async () => {
  await Promise.all([...schedulers].map((scheduler) => scheduler.stop()))
  schedulers.clear()
  await db.execute(sql`delete from schedule`)
})
afterAll(() => test.drop())

/** A clock whose wall time is set by the test; pauses of a second become short. */
function wallClock(start: string): Clock & { set(time: string): void } {
  let now = Date.parse(start)
  return {
    ...systemClock,
    now: () => now,
    sleep: (ms, signal) => systemClock.sleep(Math.min(ms / 50, 200), signal),
    set(time) {
      now = Date.parse(time)
    },
  }
}

async function schedule(
  clock: Clock,
  task: CronTask['task'],
  { isLeader = () => true, expression = '* * * * *' }: { isLeader?: () => boolean; expression?: string } = {},
): Promise<Service> {
  const tasks = [{ name: 'a task', expression, task }]
  const scheduler = createCron({
    db,
    tasks,
    leadership: { isLeader },
    clock,
    random: Math.random,
    logger: silentLogger,
  })
  schedulers.add(scheduler)
  await scheduler.start()
  return scheduler
}

async function lastDue(): Promise<string | undefined> {
  const [row] = await db.query<{ at: Date }>(sql`select last_due_at as at from schedule where token is null`)
  return row?.at.toISOString()
}
const isKnown = async () => (await lastDue()) !== undefined
const isDone = (time: string) => async () => (await lastDue()) === new Date(time).toISOString()

describe('latestDue', () => {
  const due = (expression: string, seen: string, now: string) =>
    latestDue(parseCron(expression), new Date(seen), Date.parse(now))?.toISOString()

  it('is the tick after the last one, once it is due', () => {
    expect(due('*/5 * * * *', '2026-01-01T00:00:00Z', '2026-01-01T00:04:59Z')).toBeUndefined()
    expect(due('*/5 * * * *', '2026-01-01T00:00:00Z', '2026-01-01T00:05:00Z')).toBe('2026-01-01T00:05:00.000Z')
  })

  it('skips to the last of those that were missed', () => {
    expect(due('* * * * *', '2020-01-01T00:00:00Z', '2026-01-01T12:34:56Z')).toBe('2026-01-01T12:34:00.000Z')
    expect(due('0 3 * * *', '2026-01-01T03:00:00Z', '2026-01-05T02:00:00Z')).toBe('2026-01-04T03:00:00.000Z')
    expect(due('0 3 1 * *', '2026-01-01T03:00:00Z', '2026-02-01T03:00:00Z')).toBe('2026-02-01T03:00:00.000Z')
  })

  it('speaks UTC', () => {
    expect(due('0 12 * * *', '2026-07-01T00:00:00Z', '2026-07-01T12:00:00Z')).toBe('2026-07-01T12:00:00.000Z')
  })
})

describe('a scheduled task', () => {
  it('runs at each tick after it became known, and not before', async () => {
    const clock = wallClock('2026-01-01T00:00:30Z')
    let ran = 0
    await schedule(clock, async () => {
      ran += 1
    })
    await eventually(isKnown, 'the task is known')
    expect(ran).toBe(0)
    clock.set('2026-01-01T00:01:00Z')
    await eventually(isDone('2026-01-01T00:01:00Z'), 'the first tick is done')
    clock.set('2026-01-01T00:02:10Z')
    await eventually(isDone('2026-01-01T00:02:00Z'), 'the second tick is done')
    expect(ran).toBe(2)
  })

  it('runs once for all ticks that were missed', async () => {
    const clock = wallClock('2026-01-01T00:00:30Z')
    let ran = 0
    await schedule(clock, async () => {
      ran += 1
    })
    await eventually(isKnown, 'the task is known')
    clock.set('2026-01-03T10:20:30Z')
    await eventually(isDone('2026-01-03T10:20:00Z'), 'the last tick is done')
    expect(ran).toBe(1)
  })

  it('runs once per tick with several processes that all believe they lead', async () => {
    const clock = wallClock('2026-01-01T00:00:30Z')
    const ticks: string[] = []
    for (let n = 0; n < 5; n++) {
      await schedule(clock, async () => {
        ticks.push(new Date(clock.now()).toISOString())
      })
    }
    await eventually(isKnown, 'the task is known')
    const times = [1, 2, 3, 4].map((minute) => `2026-01-01T00:0${minute}:00Z`)
    for (const time of times) {
      clock.set(time)
      await eventually(isDone(time), `the tick of ${time} is done`)
    }
    expect(ticks).toEqual(times.map((time) => new Date(time).toISOString()))
  })

  it('moves with leadership without missing or doubling a tick', async () => {
    const clock = wallClock('2026-01-01T00:00:30Z')
    let leader = 'a'
    let askedOfA = 0
    const ran: string[] = []
    for (const name of ['a', 'b']) {
      await schedule(
        clock,
        async () => {
          ran.push(name)
        },
        {
          isLeader() {
            if (name === 'a') askedOfA += 1
            return leader === name
          },
        },
      )
    }
    await eventually(isKnown, 'the task is known')
    clock.set('2026-01-01T00:01:00Z')
    await eventually(isDone('2026-01-01T00:01:00Z'), 'the first tick is done')
    leader = 'nobody'
    // What it began as the leader is over when it asks again.
    const asked = askedOfA
    await eventually(() => askedOfA > asked, 'the old leader knows')
    clock.set('2026-01-01T00:02:00Z')
    leader = 'b'
    await eventually(isDone('2026-01-01T00:02:00Z'), 'the second tick is done')
    expect(ran).toEqual(['a', 'b'])
  })

  it('is run again by another when its process dies in the middle', async () => {
    const clock = wallClock('2026-01-01T00:00:30Z')
    // As a process leaves it that was killed: claimed, and its claim ran out.
    await db.execute(sql`
      insert into schedule (name, last_due_at, token, running_until)
      values ('a task', '2026-01-01T00:00:00Z', gen_random_uuid(), now() - interval '1 second')`)
    clock.set('2026-01-01T00:01:00Z')
    let ran = 0
    await schedule(clock, async () => {
      ran += 1
    })
    await eventually(isDone('2026-01-01T00:01:00Z'), 'the tick is done')
    expect(ran).toBe(1)
  })

  it('that fails keeps its tick, and is told to stop when another has it', async () => {
    const clock = wallClock('2026-01-01T00:00:30Z')
    await db.execute(sql`insert into schedule (name, last_due_at) values ('a task', '2026-01-01T00:00:00Z')`)
    let aborted: unknown
    await schedule(clock, async (signal) => {
      await db.execute(sql`update schedule set token = gen_random_uuid()`)
      await new Promise((_, reject) =>
        signal.addEventListener('abort', () => {
          aborted = signal.reason
          reject(signal.reason)
        }),
      )
    })
    clock.set('2026-01-01T00:01:00Z')
    await eventually(() => aborted !== undefined, 'the task was told to stop')
    const rows = await db.query(sql`select last_due_at as at, token is not null as taken from schedule`)
    expect(rows).toEqual([{ at: new Date('2026-01-01T00:00:00Z'), taken: true }])
  })

  it('is stopped with its scheduler, and its tick stays due', async () => {
    const clock = wallClock('2026-01-01T00:01:00Z')
    await db.execute(sql`insert into schedule (name, last_due_at) values ('a task', '2026-01-01T00:00:00Z')`)
    let begun = false
    const scheduler = await schedule(clock, async (signal) => {
      begun = true
      await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
    })
    await eventually(() => begun, 'the task has begun')
    await scheduler.stop()
    await scheduler.stop()
    expect(await lastDue()).toBe('2026-01-01T00:00:00.000Z')
  })

  it('is refused with an expression that says nothing', () => {
    expect(() => parseCron('every day')).toThrow()
  })
})
