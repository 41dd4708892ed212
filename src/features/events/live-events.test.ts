import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js'
import { type Clock, systemClock } from '../../kernel/clock.js'
import { createIdGenerator, type TenantId } from '../../kernel/ids.js'
import { silentLogger } from '../../kernel/logger.js'
import { type Random, seededRandom } from '../../kernel/random.js'
import type { NewEvent } from './event.js'
import { createEventView, describeAsRecorded, type EventView, type ShowEvents } from './event-view.js'
import { createLiveEvents, type LiveEvents, type LiveStream } from './live-events.js'
import { record } from './record.js'

const ids = createIdGenerator()
const show = createEventView({
  describers: {
    message: describeAsRecorded,
    media: describeAsRecorded,
    instance: describeAsRecorded,
    call: describeAsRecorded,
    group: describeAsRecorded,
    contact: describeAsRecorded,
    job: describeAsRecorded,
    webhook: describeAsRecorded,
  },
})

let database: TestDatabase
beforeAll(async () => {
  database = await createTestDatabase()
})
afterAll(() => database.drop())

async function createTenant(): Promise<TenantId> {
  const id = ids.next('ten')
  await database.db.execute(sql`insert into tenant (id, name) values (${id}, 'test')`)
  return id
}

/** Nothing may be owed to the sweep, which covers for lost notifications only. */
const withoutSweep: Clock = {
  ...systemClock,
  sleep: (_ms, signal) =>
    new Promise((_resolve, reject) => signal?.addEventListener('abort', () => reject(new Error('aborted')))),
}

async function startLive(showEvents: ShowEvents = show): Promise<LiveEvents> {
  const live = createLiveEvents({
    db: database.db,
    show: showEvents,
    clock: withoutSweep,
    random: Math.random,
    logger: silentLogger,
  })
  await live.start()
  return live
}

const newEvent = (tenantId: TenantId, n: number, type: NewEvent['type'] = 'message.received'): NewEvent => ({
  id: ids.next('evt'),
  tenantId,
  type,
  instanceId: null,
  subjectId: null,
  data: { n },
})

const recordOne = (event: NewEvent): Promise<void> => database.db.tx((tx) => record(tx, [event]))

/** A client's side: keeps what arrived, and may hang up or read slowly. */
function createReader(tenantId: TenantId, { drained = async () => {} }: { drained?: () => Promise<void> } = {}) {
  const connection = new AbortController()
  const views: EventView[] = []
  const waiting = new Set<() => void>()
  const stream: LiveStream = {
    tenantId,
    wants: () => true,
    send(view) {
      if (connection.signal.aborted) return false
      views.push(view)
      for (const check of waiting) check()
      return true
    },
    drained,
    closed: connection.signal,
  }
  return {
    stream,
    views,
    hangUp: () => connection.abort(),
    /** Resolves when so many have arrived. */
    received: (count: number) =>
      new Promise<void>((resolve) => {
        const check = () => {
          if (views.length < count) return
          waiting.delete(check)
          resolve()
        }
        waiting.add(check)
        check()
      }),
  }
}

/** Closed until it is opened. */
function openGate(): { passed: () => Promise<void>; open: () => void } {
  let open = (): void => {}
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  return { passed: () => opened, open }
}

describe('live events', () => {
  it('sends what is recorded from now on, and nothing of another tenant', async () => {
    const [mine, other] = [await createTenant(), await createTenant()]
    await recordOne(newEvent(mine, 0))
    const live = await startLive()
    const reader = createReader(mine)
    const following = live.follow(reader.stream, 'now')
    // Recorded until one arrives: `follow` says nothing of when it has begun.
    for (let n = 1; reader.views.length === 0; n++) {
      await recordOne(newEvent(other, n))
      await recordOne(newEvent(mine, n))
    }
    expect(reader.views.every(({ sequence }) => sequence > 1)).toBe(true)
    await live.stop()
    await following
    expect(reader.views.length).toBeGreaterThan(0)
  })

  it('goes on right after the position, however long the past', async () => {
    const tenantId = await createTenant()
    const events = Array.from({ length: 450 }, (_, n) => newEvent(tenantId, n))
    await database.db.tx((tx) => record(tx, events))
    const live = await startLive()
    const reader = createReader(tenantId)
    const following = live.follow(reader.stream, 5n)
    await reader.received(445)
    await recordOne(newEvent(tenantId, 450))
    await reader.received(446)
    expect(reader.views.map(({ sequence }) => sequence)).toEqual(Array.from({ length: 446 }, (_, n) => n + 6))
    reader.hangUp()
    await following
    await live.stop()
  })

  it('begins at the newest event where the position was never given out', async () => {
    const tenantId = await createTenant()
    await recordOne(newEvent(tenantId, 1))
    const live = await startLive()
    const reader = createReader(tenantId)
    const following = live.follow(reader.stream, 1_000_000n)
    for (let n = 2; reader.views.length === 0; n++) await recordOne(newEvent(tenantId, n))
    await live.stop()
    await following
    expect(reader.views.length).toBeGreaterThan(0)
  })

  it('sends the past no faster than it is read', async () => {
    const tenantId = await createTenant()
    await database.db.tx((tx) =>
      record(
        tx,
        Array.from({ length: 300 }, (_, n) => newEvent(tenantId, n)),
      ),
    )
    const live = await startLive()
    const gate = openGate()
    const reader = createReader(tenantId, { drained: gate.passed })
    const following = live.follow(reader.stream, 0n)
    await reader.received(1)
    await recordOne(newEvent(tenantId, 300))
    expect(reader.views).toHaveLength(1)
    gate.open()
    await reader.received(301)
    expect(reader.views.map(({ sequence }) => sequence)).toEqual(Array.from({ length: 301 }, (_, n) => n + 1))
    await live.stop()
    await following
  })

  it('misses nothing that is recorded, and announced, while it reads the past', async () => {
    const tenantId = await createTenant()
    await recordOne(newEvent(tenantId, 1))
    const [early, late] = [createReader(tenantId), createReader(tenantId)]
    let interrupt = false
    const live = await startLive(async (...args) => {
      if (interrupt) {
        interrupt = false
        // The late one has read its page. This one comes after it, and its announcement has come and gone.
        await recordOne(newEvent(tenantId, 2))
        await early.received(2)
      }
      return show(...args)
    })
    const following = [live.follow(early.stream, 0n)]
    await early.received(1)
    interrupt = true
    following.push(live.follow(late.stream, 0n))
    await late.received(2)
    await live.stop()
    await Promise.all(following)
  })

  it('brings a burst whole that is larger than a page', async () => {
    const tenantId = await createTenant()
    await recordOne(newEvent(tenantId, 0))
    const live = await startLive()
    const reader = createReader(tenantId)
    const following = live.follow(reader.stream, 0n)
    await reader.received(1)
    await database.db.tx((tx) =>
      record(
        tx,
        Array.from({ length: 450 }, (_, n) => newEvent(tenantId, n)),
      ),
    )
    await reader.received(451)
    expect(reader.views.map(({ sequence }) => sequence)).toEqual(Array.from({ length: 451 }, (_, n) => n + 1))
    await live.stop()
    await following
  })

  it('ends a stream that cannot take more', async () => {
    const tenantId = await createTenant()
    const live = await startLive()
    const reader = createReader(tenantId)
    const following = live.follow({ ...reader.stream, send: () => false }, 0n)
    await recordOne(newEvent(tenantId, 1))
    await following
    await live.stop()
  })

  it.each([1, 2, 3])(
    'gives every reader every event once and in order, under concurrent writers and hang-ups (seed %i)',
    async (seed) => {
      const random = seededRandom(seed)
      const tenants = [await createTenant(), await createTenant()]
      const perTenant = 240
      const replicas = [await startLive(), await startLive()] as const
      const readings = Promise.all(
        tenants.flatMap((tenantId) =>
          Array.from({ length: 4 }, () => readWithHangUps(tenantId, perTenant, replicas, random)),
        ),
      )
      await Promise.all(tenants.flatMap((tenantId) => writers(tenantId, perTenant, 6, random)))
      const expected = Array.from({ length: perTenant }, (_, n) => n + 1)
      for (const sequences of await readings) expect(sequences).toEqual(expected)
      for (const live of replicas) await live.stop()
    },
  )
})

/** Writers that record in batches of any size, in transactions that overlap and sometimes roll back. */
function writers(tenantId: TenantId, total: number, count: number, random: Random): Promise<void>[] {
  let left = total
  return Array.from({ length: count }, async () => {
    while (left > 0) {
      const size = Math.min(left, 1 + Math.floor(random() * 4))
      left -= size
      await recordBatch(
        Array.from({ length: size }, (_, n) => newEvent(tenantId, n)),
        random() < 0.2,
      )
    }
  })
}

async function recordBatch(events: readonly NewEvent[], failFirst: boolean): Promise<void> {
  const abandoned = new Error('rolled back')
  if (failFirst) {
    const rolledBack = database.db.tx(async (tx) => {
      await record(tx, events)
      throw abandoned
    })
    await expect(rolledBack).rejects.toBe(abandoned)
  }
  await database.db.tx((tx) => record(tx, events))
}

/** Reads until all have come, hanging up at random and going on at any replica from the last one seen. */
async function readWithHangUps(
  tenantId: TenantId,
  total: number,
  replicas: readonly [LiveEvents, LiveEvents],
  random: Random,
): Promise<number[]> {
  const sequences: number[] = []
  while (sequences.length < total) {
    const reader = createReader(tenantId)
    const live = replicas[random() < 0.5 ? 0 : 1]
    const following = live.follow(reader.stream, BigInt(sequences.at(-1) ?? 0))
    await reader.received(Math.min(total - sequences.length, 1 + Math.floor(random() * 40)))
    reader.hangUp()
    await following
    sequences.push(...reader.views.map(({ sequence }) => sequence))
  }
  return sequences
}
