/**
 * Events as the outside sees them. What an event's `data` shows belongs to the feature of its subject, further right: compose
 * hands one describer per subject. `data` speaks of the moment of the event: a describer takes what changes (a status, its
 * time) from the event's row and joins only what does not.
 */
import { type EventId, publicId, type TenantId } from '../../kernel/ids.js'
import type { EventType, RecordedEvent } from './event.js'
import type { StoredEvent } from './event-store.js'

/** What public events speak of: the first word of their type. */
export type EventSubject = 'message' | 'media' | 'instance' | 'call' | 'contact' | 'group' | 'job' | 'webhook'

/** Resolves to the `data` of these events, all of one subject. An event that is left out shows its recorded data. */
export type EventDescriber = (
  tenantId: TenantId,
  events: readonly RecordedEvent[],
) => Promise<ReadonlyMap<EventId, unknown>>

/** The body of a webhook, as Standard Webhooks has it: these three members and no other. */
export interface EventBody {
  readonly type: EventType
  /** RFC 3339 in UTC. */
  readonly timestamp: string
  readonly data: unknown
}

export interface EventView extends EventBody {
  /** `evt_…`; the `webhook-id` of its deliveries. */
  readonly id: string
  /** Position in the tenant's sequence: the id on the live stream, the cursor when pulling. */
  readonly sequence: number
  /** Null: of no instance. */
  readonly instanceId: string | null
}

/** Shows events of one tenant, in their order. A body that was delivered is shown as it was delivered. */
export type ShowEvents = (tenantId: TenantId, events: readonly StoredEvent[]) => Promise<readonly EventView[]>

export function createEventView({
  describers,
}: {
  readonly describers: Readonly<Record<EventSubject, EventDescriber>>
}): ShowEvents {
  return async function showEvents(tenantId, events) {
    const fresh = events.filter(({ body }) => body === null)
    const described = await Promise.all(
      (Object.keys(describers) as EventSubject[]).flatMap((subject) => {
        const ofSubject = fresh.filter((event) => event.type.startsWith(`${subject}.`))
        return ofSubject.length > 0 ? [describers[subject](tenantId, ofSubject)] : []
      }),
    )
    const dataOf = new Map(described.flatMap((data) => [...data]))
    return events.map((event) => ({
      id: publicId('evt', event.id),
      sequence: Number(event.seq),
      instanceId: event.instanceId === null ? null : publicId('ins', event.instanceId),
      ...(event.body === null
        ? {
            type: event.type,
            timestamp: event.createdAt.toISOString(),
            data: dataOf.has(event.id) ? dataOf.get(event.id) : event.data,
          }
        : (JSON.parse(event.body) as EventBody)),
    }))
  }
}

/** The bytes that are signed and sent. */
export const bodyOf = ({ type, timestamp, data }: EventView): string => JSON.stringify({ type, timestamp, data })

/** For subjects that have no more to show than what was recorded. */
export const describeAsRecorded: EventDescriber = async (_tenantId, events) =>
  new Map(events.map((event) => [event.id, event.data]))
