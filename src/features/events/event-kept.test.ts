/** Pulling with a wait, how far back events are kept, and resuming a stream whatever happens to line and server. */
import { get, type IncomingMessage } from 'node:http'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js'
import { buildInstance } from '../../../test/support/factories.js'
import { type Answer, createTestServer, type TestServer } from '../../../test/support/http-server.js'
import { systemClock } from '../../kernel/clock.js'
import { createIdGenerator, type EventId, publicId, type TenantId } from '../../kernel/ids.js'
import { silentLogger } from '../../kernel/logger.js'
import type { Database } from '../../platform/database/database.js'
import type { NewEvent } from './event.js'
import { eventRoutes } from './event-routes.js'
import { createEventView, describeAsRecorded } from './event-view.js'
import { forgetEvents } from './forget-store.js'
import { createLiveEvents, type LiveEvents } from './live-events.js'
import { record } from './record.js'

const ids = createIdGenerator()
const asRecorded = describeAsRecorded
const show = createEventView({
  describers: {
    message: asRecorded,
    media: asRecorded,
    instance: asRecorded,
    call: asRecorded,
    group: asRecorded,
    contact: asRecorded,
    job: asRecorded,
    webhook: asRecorded,
  },
})
let database: TestDatabase
let db: Database
let web: { http: TestServer; live: LiveEvents }
let tenantId: TenantId
let key: string

beforeAll(async () => {
  database = await createTestDatabase()
  db = database.db
  web = await startWeb()
})
afterAll(async () => {
  await stopWeb(web)
  await database.drop()
})
beforeEach(async () => {
  tenantId = await web.http.newTenant()
  key = await web.http.newKey({ tenantId, scopes: ['read'] })
})

describe('pulling with ?wait=', () => {
  test('holds an empty answer until something that is wanted is recorded', async () => {
    const instanceId = await buildInstance(db, tenantId)
    await recordEvent({ type: 'message.sent' })
    const query = `types=message.read&instanceId=${publicId('ins', instanceId)}&after=1&wait=30`
    let answered = false
    const answering = pull(query).then((answer) => {
      answered = true
      return answer
    })
    await recordEvent({ type: 'message.read' })
    await recordEvent({ type: 'message.sent', instanceId })
    expect(answered).toBe(false)
    const id = await recordEvent({ type: 'message.read', instanceId })
    expect((await answering).json).toMatchObject({
      data: [{ id: publicId('evt', id), sequence: 4, instanceId: publicId('ins', instanceId) }],
      nextCursor: '4',
      hasMore: false,
    })
  })

  test('answers at once when there is something, and empty when the time is over', async () => {
    await recordEvent()
    expect((await pull('wait=30')).json.data).toHaveLength(1)
    expect((await pull('after=1&wait=1')).json).toEqual({ data: [], nextCursor: '1', hasMore: false })
    expect((await pull('wait=31')).status).toBe(400)
  })

  test('brings each of many events exactly once and in order, while they are recorded by many at once', async () => {
    const total = 200
    const writing = Promise.all(
      Array.from({ length: 8 }, async () => {
        for (let n = 0; n < total / 8; n++) await recordEvent()
      }),
    )
    const seen: number[] = []
    for (let after = '0'; seen.length < total; ) {
      const { json } = await pull(`after=${after}&wait=30&limit=7`)
      seen.push(...json.data.map(({ sequence }: { sequence: number }) => sequence))
      after = json.nextCursor
    }
    await writing
    expect(seen).toEqual(Array.from({ length: total }, (_, n) => n + 1))
  })
})

describe('events past their retention', () => {
  test('are forgotten from the oldest on without a gap; a cursor from before is told so, and where to go on', async () => {
    for (let n = 0; n < 5; n++) await recordEvent()
    // The fourth is young: the fifth, though old, must not leave a hole behind it.
    await age([1, 2, 3, 5])
    expect(await forgetEvents(db, 30)).toBe(3)
    expect(await forgetEvents(db, 30)).toBe(0)
    expect(await sequencesKept()).toEqual([4, 5])
    for (const after of [0, 1, 2]) {
      expect(await pull(`after=${after}`)).toMatchObject({
        status: 410,
        json: { code: 'cursor_gone', oldestCursor: '3', action: /oldestCursor/ },
      })
    }
    const numbers = (answer: Answer) => answer.json.data.map(({ sequence }: { sequence: number }) => sequence)
    expect(numbers(await pull('after=3'))).toEqual([4, 5])
    expect(numbers(await pull(''))).toEqual([4, 5])
    const live = await web.http.ask('GET', '/api/live', { key, headers: { 'last-event-id': '2' } })
    expect(live).toMatchObject({ status: 410, json: { code: 'cursor_gone', oldestCursor: '3' } })
  })

  test('stay while an endpoint has not got them, and take their deliveries along', async () => {
    const endpointId = ids.next('whe')
    await db.execute(sql`
      insert into webhook_endpoint (id, tenant_id, url, secret_sealed) values (${endpointId}, ${tenantId}, 'https://a.example', '')`)
    const events = [await recordEvent(), await recordEvent(), await recordEvent(), await recordEvent()]
    const statuses = ['delivered', 'pending', 'exhausted', 'dropped']
    for (const [index, eventId] of events.entries()) {
      const id = ids.next('dlv')
      await db.execute(sql`
        insert into delivery (id, tenant_id, endpoint_id, event_id, status)
        values (${id}, ${tenantId}, ${endpointId}, ${eventId}, ${statuses[index]})`)
      await db.execute(sql`
        insert into attempt (delivery_id, tenant_id, number, started_at, duration_ms) values (${id}, ${tenantId}, 1, now(), 1)`)
    }
    await age([1, 2, 3, 4])
    expect(await forgetEvents(db, 30)).toBe(2)
    expect(await sequencesKept()).toEqual([2, 3])
    expect((await pull('')).json).toEqual({ data: [], nextCursor: '4', hasMore: false })
    await db.execute(sql`update delivery set status = 'delivered' where tenant_id = ${tenantId}`)
    expect(await forgetEvents(db, 30)).toBe(2)
  })

  test('go in batches, however many there are', async () => {
    await db.tx((tx) =>
      record(
        tx,
        Array.from({ length: 2_500 }, () => newEvent({})),
      ),
    )
    await age(Array.from({ length: 2_400 }, (_, n) => n + 1))
    expect(await forgetEvents(db, 30)).toBe(2_400)
    expect((await pull('limit=1')).json.data).toMatchObject([{ sequence: 2_401 }])
  })

  test('a cursor that was never given out is told so: to wait there would skip what comes until then', async () => {
    await recordEvent()
    expect(await pull('after=2')).toMatchObject({ status: 410, json: { code: 'cursor_gone', oldestCursor: '0' } })
    expect((await pull('after=1')).status).toBe(200)
  })
})

describe('a live stream', () => {
  test('cut at any byte, over restarts of the server, brings each event exactly once and in order', async () => {
    const total = 400
    let mine = await startWeb()
    const padding = 'x'.repeat(300)
    const writing = Promise.all(
      Array.from({ length: 4 }, async () => {
        for (let n = 0; n < total / 4; n++) await recordEvent({ data: { padding } })
      }),
    )
    const seen: number[] = []
    for (let cuts = 0; seen.length < total; cuts++) {
      const url = mine.http.server.url ?? ''
      const restart = cuts % 5 === 4
      // Mostly in the midst of a frame; sometimes before the first byte.
      const reading = readFor(url, seen.at(-1), cuts % 7 === 0 ? 0 : 200 + ((cuts * 7_919) % 9_000))
      if (restart) {
        await stopWeb(mine)
        mine = await startWeb()
      }
      seen.push(...(await reading))
    }
    await writing
    await stopWeb(mine)
    expect(seen).toEqual(Array.from({ length: total }, (_, n) => n + 1))
  })
})

// Helpers

const pull = (query: string): Promise<Answer> => web.http.ask('GET', `/api/events?${query}`, { key })

async function startWeb(): Promise<typeof web> {
  const live = createLiveEvents({ db, show, clock: systemClock, random: Math.random, logger: silentLogger })
  const http = await createTestServer({ db, modules: () => [eventRoutes({ db, show, live })] })
  await live.start()
  await http.server.start()
  return { http, live }
}

async function stopWeb({ http, live }: typeof web): Promise<void> {
  await http.stop()
  await live.stop()
}

const newEvent = (event: Partial<NewEvent>): NewEvent => {
  const defaults = { type: 'message.received', instanceId: null, subjectId: null, data: {} } as const
  return { ...defaults, tenantId, id: ids.next('evt'), ...event }
}

async function recordEvent(event: Partial<NewEvent> = {}): Promise<EventId> {
  const full = newEvent(event)
  await db.tx((tx) => record(tx, [full]))
  return full.id
}

const age = (sequences: readonly number[]) =>
  db.execute(sql`
    update event set created_at = now() - interval '31 days'
    where tenant_id = ${tenantId} and seq = any (${sequences}::bigint[])`)

async function sequencesKept(): Promise<number[]> {
  const rows = await db.query<{ seq: number }>(
    sql`select seq::int as seq from event where tenant_id = ${tenantId} order by seq`,
  )
  return rows.map(({ seq }) => seq)
}

/** Reads so many bytes of the stream and cuts the line there. Resolves to the sequences of the frames that came whole. */
function readFor(url: string, lastEventId: number | undefined, bytes: number): Promise<number[]> {
  const headers = { authorization: `Bearer ${key}`, 'last-event-id': String(lastEventId ?? 0) }
  return new Promise((resolve) => {
    let text = ''
    let waiting: NodeJS.Timeout | undefined
    const cut = (): void => {
      clearTimeout(waiting)
      request.destroy()
      const whole = text.slice(0, bytes).split('\n\n').slice(0, -1)
      resolve(whole.flatMap((frame) => (frame.includes('\ndata: ') ? [Number(/^id: (\d+)/.exec(frame)?.[1])] : [])))
    }
    const read = (response: IncomingMessage): void => {
      response.setEncoding('latin1')
      response.on('data', (chunk: string) => {
        text += chunk
        if (text.length >= bytes) cut()
      })
      response.on('error', cut)
      response.on('end', cut)
    }
    const request = get(`${url}/api/live`, { headers }, read)
    request.on('error', cut)
    // At the end of what there is no more bytes come.
    waiting = setTimeout(cut, 1_000)
  })
}
