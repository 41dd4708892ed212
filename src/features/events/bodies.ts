/** The bodies of events as they leave: made once from the view, then frozen, so that every try, anywhere, sends the same bytes. */
import type { EventId, TenantId } from '../../kernel/ids.js'
import type { Queryable } from '../../platform/database/database.js'
import { type EventKey, findEvents, freezeBodies, type StoredEvent } from './event-store.js'
import { bodyOf, type ShowEvents } from './event-view.js'

export interface Body extends EventKey {
  readonly body: string
}

/** Makes the bodies of those events that have none yet. */
export async function makeBodies(show: ShowEvents, events: readonly StoredEvent[]): Promise<Body[]> {
  const byTenant = new Map<TenantId, StoredEvent[]>()
  for (const event of events.filter(({ body }) => body === null)) {
    const ofTenant = byTenant.get(event.tenantId)
    if (ofTenant) ofTenant.push(event)
    else byTenant.set(event.tenantId, [event])
  }
  const made = await Promise.all(
    [...byTenant].map(async ([tenantId, ofTenant]) => {
      const views = await show(tenantId, ofTenant)
      return ofTenant.map((event, index) => {
        const view = views[index]
        if (!view) throw new Error('fewer views than events')
        return { tenantId, eventId: event.id, body: bodyOf(view) }
      })
    }),
  )
  return made.flat()
}

/** Makes and freezes the body of an event that is delivered without a fan-out. Undefined when the event does not exist. */
export async function ensureBody(db: Queryable, show: ShowEvents, key: EventKey): Promise<string | undefined> {
  const events = await findEvents(db, [key])
  const [event] = events
  if (!event || event.body !== null) return event?.body ?? undefined
  const frozen: ReadonlyMap<EventId, string> = await freezeBodies(db, await makeBodies(show, events))
  return frozen.get(key.eventId)
}
