/** Records events in the caller's transaction; webhooks and streams learn of them by the rows. */
import sql, { type Sql } from 'sql-template-tag'
import type { Tx } from '../../platform/database/database.js'
import type { NewEvent } from './event.js'
import { typesWaking } from './subscriptions.js'

/** Records the events, in this order, in the tenant's sequence. */
export async function record(tx: Tx, events: readonly NewEvent[]): Promise<void> {
  if (events.length === 0) return
  await tx.execute(sql`
    with new_event as (${newEventRows(events)})
    ${recordNewEvents}
    select`)
}

/** Rows for a CTE named `new_event`, from values. `ord` keeps their order. */
export function newEventRows(events: readonly NewEvent[]): Sql {
  return sql`select * from unnest(
      ${events.map((event) => event.id)}::uuid[],
      ${events.map((event) => event.tenantId)}::uuid[],
      ${events.map((event) => event.type)}::text[],
      ${events.map((event) => event.instanceId)}::uuid[],
      ${events.map((event) => event.subjectId)}::uuid[],
      ${events.map((event) => JSON.stringify(event.data))}::jsonb[])
    with ordinality as e (id, tenant_id, type, instance_id, subject_id, data, ord)`
}

/** Whether endpoint `w` wants event `e`: asked here to enqueue a fan-out at all, and by the fan-out to make deliveries. */
export const endpointWantsEvent: Sql = sql`
  w.tenant_id = e.tenant_id and w.enabled and w.deleted_at is null
    and (w.instance_id is null or w.instance_id = e.instance_id)
    and (w.events is null or e.type = any (w.events))`

/**
 * CTEs to append to a statement that has a CTE `new_event(id, tenant_id, type, instance_id, subject_id, data, ord)`: so a
 * hot path records in the very statement that made the news. Takes the tenants' counter rows in order; they are the last
 * locks of any statement.
 */
export const recordNewEvents: Sql = sql`
  , event_count as materialized (
    select tenant_id, count(*)::bigint as n from new_event group by tenant_id order by tenant_id
  ), counted as (
    insert into event_counter as c (tenant_id, last_seq)
    select tenant_id, n from event_count
    on conflict (tenant_id) do update set last_seq = c.last_seq + excluded.last_seq
    returning c.tenant_id, c.last_seq
  ), event_row as (
    insert into event (id, tenant_id, seq, type, instance_id, subject_id, data)
    select e.id, e.tenant_id,
      counted.last_seq - event_count.n + row_number() over (partition by e.tenant_id order by e.ord),
      e.type, e.instance_id, e.subject_id, e.data
    from new_event e join counted using (tenant_id) join event_count using (tenant_id)
    returning id, tenant_id, type, instance_id
  ), fan_out as (
    insert into job (id, tenant_id, kind, subject_id)
    select uuid_v7(), e.tenant_id, 'fan-out', e.id from event_row e
    where e.type = any (${[...typesWaking('fan-out')]}::text[])
      -- The tenants twice: endpoints are entered by their index, however many tenants there are.
      and exists (select from webhook_endpoint w where ${endpointWantsEvent}
        and w.tenant_id = any (array(select tenant_id from event_count)))
  )`
