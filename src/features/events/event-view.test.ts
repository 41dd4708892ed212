import { describe, expect, it } from 'vitest'
import { createIdGenerator, publicId } from '../../kernel/ids.js'
import type { StoredEvent } from './event-store.js'
import { bodyOf, createEventView, describeAsRecorded, type EventDescriber } from './event-view.js'

const ids = createIdGenerator()
const tenantId = ids.next('ten')

const buildEvent = (overrides: Partial<StoredEvent> = {}): StoredEvent => ({
  id: ids.next('evt'),
  tenantId,
  type: 'message.sent',
  instanceId: null,
  subjectId: null,
  data: { recorded: true },
  seq: 7n,
  body: null,
  createdAt: new Date(Date.UTC(2026, 10, 21)),
  ...overrides,
})

function viewWith(message: EventDescriber) {
  const some = {
    media: describeAsRecorded,
    instance: describeAsRecorded,
    call: describeAsRecorded,
    contact: describeAsRecorded,
  }
  const rest = { ...some, group: describeAsRecorded }
  return createEventView({ describers: { message, ...rest, job: describeAsRecorded, webhook: describeAsRecorded } })
}

describe('the view of an event', () => {
  it('has the data that the describer of its subject gives', async () => {
    const seen: number[] = []
    const show = viewWith(async (_tenant, events) => {
      seen.push(events.length)
      return new Map(events.map(({ id }) => [id, { described: true }]))
    })
    const [message, instance, other] = [
      buildEvent(),
      buildEvent({ type: 'instance.status_changed' }),
      buildEvent({ type: 'message.read' }),
    ]
    const views = await show(tenantId, [message, instance, other])
    expect(views).toEqual([
      {
        id: publicId('evt', message.id),
        sequence: 7,
        instanceId: null,
        type: 'message.sent',
        timestamp: '2026-11-21T00:00:00.000Z',
        data: { described: true },
      },
      expect.objectContaining({ type: 'instance.status_changed', data: { recorded: true } }),
      expect.objectContaining({ type: 'message.read', data: { described: true } }),
    ])
    // All events of a subject are described at once.
    expect(seen).toEqual([2])
  })

  it('shows what was recorded where the describer leaves the event out, or where nobody describes its subject', async () => {
    const show = viewWith(async () => new Map())
    const views = await show(tenantId, [buildEvent(), buildEvent({ type: 'lease.taken' })])
    expect(views.map(({ data }) => data)).toEqual([{ recorded: true }, { recorded: true }])
  })

  it('shows a frozen body as it was sent', async () => {
    const show = viewWith(async () => {
      throw new Error('must not be asked')
    })
    const body = JSON.stringify({ type: 'message.sent', timestamp: '2026-01-01T00:00:00.000Z', data: { old: true } })
    const [view] = await show(tenantId, [buildEvent({ body })])
    expect(view).toMatchObject({ sequence: 7, timestamp: '2026-01-01T00:00:00.000Z', data: { old: true } })
    expect(view && bodyOf(view)).toBe(body)
  })
})
