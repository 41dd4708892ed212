/** What a fan-out reads and what it writes, one statement each, for many events at once. Their plans are kept. */
import sql, { type Sql } from 'sql-template-tag'
import type { DeliveryId, EventId, WebhookId } from '../../kernel/ids.js'
import type { Queryable } from '../../platform/database/database.js'
import type { InsertedJob } from '../../platform/jobs/jobs.js'
import type { Body } from '../events/bodies.js'
import { type EventKey, type EventRow, eventColumns, type StoredEvent, toEvent } from '../events/event-store.js'
import { endpointWantsEvent } from '../events/record.js'
import type { NewDelivery } from './delivery-store.js'
import { orderKey, type Target } from './endpoint-store.js'

export interface WantedEvents {
  /** Those that somebody wants, once each. */
  readonly events: readonly StoredEvent[]
  readonly targets: readonly Target[]
}

/** These events, as far as they exist, and who wants them now. */
export async function findWanted(db: Queryable, keys: readonly EventKey[]): Promise<WantedEvents> {
  const rows = await db.query<EventRow & { endpoint_id: WebhookId; order_key: string | null }>(
    sql`
      with key as materialized (
        select * from unnest(
          ${keys.map(({ tenantId }) => tenantId)}::uuid[],
          ${keys.map(({ eventId }) => eventId)}::uuid[]) as k (tenant_id, id)
      )
      select ${eventColumns}, w.id as endpoint_id, ${orderKey} as order_key
      from key join event e on e.id = key.id and e.tenant_id = key.tenant_id
      join webhook_endpoint w on ${endpointWantsEvent}
      -- Said again, so that the kept plan enters both tables by their indexes, however small they were when it was made.
      where e.id = any (array(select id from key)) and w.tenant_id = any (array(select tenant_id from key))`,
    'fan-out-wanted',
  )
  const events = new Map<EventId, StoredEvent>()
  const targets = rows.map((row): Target => {
    const event = toEvent(row)
    events.set(event.id, event)
    const { id: eventId, tenantId, seq: sequence } = event
    return { tenantId, eventId, sequence, endpointId: row.endpoint_id, orderKey: row.order_key }
  })
  return { events: [...events.values()], targets }
}

export interface FannedOut {
  readonly bodies: readonly Body[]
  readonly deliveries: readonly NewDelivery[]
  /** Inserts a job for each row of the source that it is given. */
  readonly insertJobs: (source: Sql) => Sql
}

/**
 * Freezes the bodies of events that have none yet, and makes the deliveries that do not exist yet, each with its job: all of
 * it or nothing. Resolves to the new jobs.
 */
export async function insertFannedOut(db: Queryable, fannedOut: FannedOut): Promise<InsertedJob<DeliveryId>[]> {
  const { deliveries, insertJobs } = fannedOut
  const bodies = fannedOut.bodies.toSorted((left, right) => (left.eventId < right.eventId ? -1 : 1))
  return db.query<InsertedJob<DeliveryId>>(
    sql`
      with body as materialized (
        select * from unnest(
          ${bodies.map(({ tenantId }) => tenantId)}::uuid[],
          ${bodies.map(({ eventId }) => eventId)}::uuid[],
          ${bodies.map(({ body }) => body)}::text[]) as b (tenant_id, event_id, body)
      ), frozen as (
        update event e set body = body.body from body
        where e.id = body.event_id and e.id = any (array(select event_id from body)) and e.tenant_id = body.tenant_id
          and e.body is null
      ), made as (
        insert into delivery (id, tenant_id, endpoint_id, event_id, next_attempt_at)
        select id, tenant_id, endpoint_id, event_id, now() from unnest(
          ${deliveries.map(({ id }) => id)}::uuid[],
          ${deliveries.map(({ tenantId }) => tenantId)}::uuid[],
          ${deliveries.map(({ endpointId }) => endpointId)}::uuid[],
          ${deliveries.map(({ eventId }) => eventId)}::uuid[]) as d (id, tenant_id, endpoint_id, event_id)
        on conflict (endpoint_id, event_id) do nothing
        returning id as subject_id, tenant_id
      )
      ${insertJobs(sql`made`)}`,
    'fan-out-insert',
  )
}
