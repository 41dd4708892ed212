import { get } from 'node:http'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { eventually } from '../../../test/support/eventually.js'
import { buildInstance, buildTenant } from '../../../test/support/factories.js'
import { createWebhookWorld, type WebhookWorld } from '../../../test/support/webhook-world.js'
import { publicId, type TenantId } from '../../kernel/ids.js'

let world: WebhookWorld
beforeAll(async () => {
  world = await createWebhookWorld()
})
afterAll(() => world.stop())

async function newTenant(): Promise<{ tenantId: TenantId; as: string }> {
  const tenantId = await buildTenant(world.db)
  return { tenantId, as: world.keyOf(tenantId) }
}

describe('pulling events', () => {
  it('goes page by page without gaps or doubles, and waits at the end for more', async () => {
    const { tenantId, as } = await newTenant()
    for (let n = 1; n <= 5; n++) await world.recordEvent({ tenantId, data: { n } })
    const seen: number[] = []
    let after = '0'
    for (let more = true; more; ) {
      const { body } = await world.api('GET', `/api/events?limit=2&after=${after}`, { as })
      seen.push(...body.data.map(({ data }: { data: { n: number } }) => data.n))
      after = body.nextCursor
      more = body.hasMore
    }
    expect(seen).toEqual([1, 2, 3, 4, 5])
    expect((await world.api('GET', `/api/events?after=${after}`, { as })).body).toEqual({
      data: [],
      nextCursor: after,
      hasMore: false,
    })
    await world.recordEvent({ tenantId, data: { n: 6 } })
    expect((await world.api('GET', `/api/events?after=${after}`, { as })).body.data).toMatchObject([{ data: { n: 6 } }])
  })

  it('filters by type and instance, hides what is internal, and passes over the rest for good', async () => {
    const { tenantId, as } = await newTenant()
    const instanceId = await buildInstance(world.db, tenantId)
    await world.recordEvent({ tenantId, type: 'message.read', instanceId })
    await world.recordEvent({ tenantId, type: 'message.read' })
    await world.recordEvent({ tenantId, type: 'message.sent', instanceId })
    await world.recordEvent({ tenantId, type: 'message.queued', instanceId })
    const query = `types=message.read,message.failed&instanceId=${publicId('ins', instanceId)}`
    const { body } = await world.api('GET', `/api/events?${query}`, { as })
    expect(body).toMatchObject({ data: [{ type: 'message.read', sequence: 1 }], nextCursor: '4', hasMore: false })
    const all = await world.api('GET', '/api/events', { as })
    expect(all.body.data.map(({ type }: { type: string }) => type)).toEqual([
      'message.read',
      'message.read',
      'message.sent',
    ])
  })

  it('shows nothing of another tenant', async () => {
    const [mine, other] = [await newTenant(), await newTenant()]
    await world.recordEvent({ tenantId: other.tenantId })
    expect((await world.api('GET', '/api/events', { as: mine.as })).body.data).toEqual([])
  })

  it.each(['types=message.queued', 'types=', 'after=-1', 'after=x', 'limit=201', 'instanceId=ins_1'])(
    'refuses ?%s with a clear 400',
    async (query) => {
      const { status, body } = await world.api('GET', `/api/events?${query}`)
      expect(status).toBe(400)
      expect(body.code).toBe('invalid_request')
    },
  )
})

interface Frame {
  readonly id: string
  readonly event: string
  readonly data: { type: string; sequence: number; data: { n: number } }
}

/** A client of the stream, reading frames as a browser does. */
function openStream(path: string, as: string, lastEventId?: string) {
  const frames: Frame[] = []
  const marks: string[] = []
  const waiting = new Set<() => void>()
  let rest = ''
  const headers = { authorization: `Bearer ${as}`, ...(lastEventId ? { 'last-event-id': lastEventId } : {}) }
  const request = get(`${world.url}${path}`, { headers }, (response) => {
    response.setEncoding('utf8')
    response.on('data', (chunk: string) => {
      const parts = (rest + chunk).split('\n\n')
      rest = parts.pop() ?? ''
      marks.push(...parts.flatMap((part) => /^id: (\d+)$/.exec(part)?.[1] ?? []))
      frames.push(...parts.filter((part) => part.includes('\ndata: ')).map(parseFrame))
      for (const look of waiting) look()
    })
    response.on('error', () => {})
  })
  request.on('error', () => {})
  return {
    frames,
    /** Ids without an event. */
    marks,
    hangUp: () => request.destroy(),
    received: (count: number) =>
      new Promise<void>((resolve) => {
        const look = (): void => {
          if (frames.length < count) return
          waiting.delete(look)
          resolve()
        }
        waiting.add(look)
        look()
      }),
  }
}

function parseFrame(text: string): Frame {
  const [id = '', event = '', data = ''] = text.split('\n').map((line) => line.slice(line.indexOf(': ') + 2))
  return { id, event, data: JSON.parse(data) as Frame['data'] }
}

describe('the live stream', () => {
  it('resumes right after Last-Event-ID, however often the line is cut, while events keep coming', async () => {
    const { tenantId, as } = await newTenant()
    const total = 300
    const writing = Promise.all(
      Array.from({ length: 6 }, async () => {
        for (let n = 0; n < total / 6; n++) await world.recordEvent({ tenantId })
      }),
    )
    const seen: number[] = []
    while (seen.length < total) {
      const stream = openStream('/api/live?after=0', as, seen.length > 0 ? String(seen.at(-1)) : undefined)
      await stream.received(Math.min(total - seen.length, 1 + (seen.length % 60)))
      stream.hangUp()
      seen.push(...stream.frames.map(({ id }) => Number(id)))
    }
    await writing
    expect(seen).toEqual(Array.from({ length: total }, (_, n) => n + 1))
  })

  it('says where it begins before anything happens, so that a cut before the first event loses nothing', async () => {
    const { tenantId, as } = await newTenant()
    await world.recordEvent({ tenantId })
    await world.recordEvent({ tenantId })
    const cut = openStream('/api/live?types=message.read', as)
    await eventually(() => cut.marks.length > 0, 'its beginning was told')
    cut.hangUp()
    expect({ marks: cut.marks, frames: cut.frames }).toEqual({ marks: ['2'], frames: [] })
    await world.recordEvent({ tenantId, type: 'message.read', data: { n: 3 } })
    const again = openStream('/api/live?types=message.read', as, cut.marks[0])
    await again.received(1)
    expect(again.frames).toMatchObject([{ id: '3', data: { data: { n: 3 } } }])
    again.hangUp()
  })

  it('brings events as they happen, filtered, with their type and sequence', async () => {
    const { tenantId, as } = await newTenant()
    const stream = openStream('/api/live?after=0&types=message.read,message.sent', as)
    await world.recordEvent({ tenantId, type: 'message.delivered', data: { n: 1 } })
    await world.recordEvent({ tenantId, type: 'message.queued', data: { n: 2 } })
    await world.recordEvent({ tenantId, type: 'message.read', data: { n: 3 } })
    await stream.received(1)
    await world.recordEvent({ tenantId, type: 'message.sent', data: { n: 4 } })
    await stream.received(2)
    expect(stream.frames).toMatchObject([
      { id: '3', event: 'message.read', data: { type: 'message.read', sequence: 3, data: { n: 3 } } },
      { id: '4', event: 'message.sent', data: { type: 'message.sent', sequence: 4, data: { n: 4 } } },
    ])
    stream.hangUp()
  })

  it('sends a long past whole', async () => {
    const { tenantId, as } = await newTenant()
    const text = 'x'.repeat(20_000)
    for (let n = 1; n <= 150; n++) await world.recordEvent({ tenantId, data: { n, text } })
    const stream = openStream('/api/live', as, '0')
    await stream.received(150)
    expect(stream.frames.map(({ id }) => Number(id))).toEqual(Array.from({ length: 150 }, (_, n) => n + 1))
    stream.hangUp()
  })

  it('refuses a Last-Event-ID that is no position, and a request without a key', async () => {
    const headers = { 'last-event-id': 'evt_1' }
    expect((await world.api('GET', '/api/live', { headers })).body.code).toBe('invalid_request')
    expect((await world.api('GET', '/api/live', { as: 'nobody' })).status).toBe(401)
  })
})
