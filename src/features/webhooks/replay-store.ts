/** Replays as stored, and the part of a tenant's events that each is about. */
import sql, { type Sql } from 'sql-template-tag'
import type { DeliveryId, EventId, TenantId, WebhookId } from '../../kernel/ids.js'
import type { Queryable, Tx } from '../../platform/database/database.js'
import { endpointWantsEvent } from '../events/record.js'
import { typesWaking } from '../events/subscriptions.js'
import type { NewDelivery } from './delivery-store.js'
import { orderKey, type Target } from './endpoint-store.js'

/** Which of an endpoint's events are delivered again. */
export interface ReplayRange {
  readonly tenantId: TenantId
  readonly endpointId: WebhookId
  readonly since: Date
  readonly until: Date
  /** Only those whose delivery has failed: was given up, or waits for another try. */
  readonly onlyFailed: boolean
  /** Positions of the sequence: after the one, up to the other. */
  readonly after: bigint
  readonly last: bigint
}

export interface Replay extends ReplayRange {
  readonly id: string
}

export async function insertReplay(tx: Tx, replay: Replay): Promise<void> {
  const { id, tenantId, endpointId, onlyFailed, since, until, after, last } = replay
  await tx.execute(sql`
    insert into replay (id, tenant_id, endpoint_id, only_failed, since, until, after_seq, last_seq)
    values (${id}, ${tenantId}, ${endpointId}, ${onlyFailed}, ${since}, ${until}, ${after}, ${last})`)
}

/** Others who work on it wait until the transaction ends. Undefined when there is none, or it is finished. */
export async function lockReplay(tx: Tx, tenantId: TenantId, id: string): Promise<Replay | undefined> {
  const [replay] = await tx.query<Replay>(sql`
    select id, tenant_id as "tenantId", endpoint_id as "endpointId", only_failed as "onlyFailed", since, until,
      after_seq as after, last_seq as last
    from replay where tenant_id = ${tenantId} and id = ${id} and finished_at is null for update`)
  return replay
}

export async function moveReplay(tx: Tx, { tenantId, id, last }: Replay, after: bigint): Promise<void> {
  await tx.execute(sql`
    update replay set after_seq = ${after}, finished_at = case when ${after >= last} then now() end
    where tenant_id = ${tenantId} and id = ${id}`)
}

/** How many events the replay is about, counting no further than `atMost`. */
export async function countReplayed(db: Queryable, range: ReplayRange, atMost: number): Promise<number> {
  const [row] = await db.query<{ n: bigint }>(sql`
    select count(*) as n from (select ${replayed(range)} limit ${atMost}) e`)
  return Number(row?.n ?? 0n)
}

/** The first of them, in sequence. */
export async function findReplayed(db: Queryable, range: ReplayRange, limit: number): Promise<Target[]> {
  return db.query<Target>(sql`
    select e.tenant_id as "tenantId", e.id as "eventId", w.id as "endpointId", e.seq as sequence, ${orderKey} as "orderKey"
    ${replayed(range)} order by e.seq limit ${limit}`)
}

/** One event, whatever the endpoint's filters say. Undefined when either does not exist, or the event is not a public one. */
export async function findReplayedEvent(
  db: Queryable,
  { tenantId, endpointId }: Pick<ReplayRange, 'tenantId' | 'endpointId'>,
  eventId: EventId,
): Promise<Target | undefined> {
  const [target] = await db.query<Target>(sql`
    select e.tenant_id as "tenantId", e.id as "eventId", w.id as "endpointId", e.seq as sequence, ${orderKey} as "orderKey"
    from event e join webhook_endpoint w on w.id = ${endpointId} and w.tenant_id = e.tenant_id
    left join delivery d on d.endpoint_id = w.id and d.event_id = e.id
    where e.tenant_id = ${tenantId} and e.id = ${eventId} and ${isDeliverable}`)
  return target
}

/**
 * Inserts the deliveries, or makes those that exist pending again; resolves to the ids of these. A delivery that is on its way
 * for the first time, or put aside, stays as it is. So does one that waits for another try, where the endpoint is ordered: it
 * has its place in its chat; elsewhere it is tried now, besides.
 */
export async function reopenDeliveries(
  db: Queryable,
  deliveries: readonly NewDelivery[],
): Promise<Map<EventId, DeliveryId>> {
  const rows = await db.query<{ id: DeliveryId; event_id: EventId }>(sql`
    insert into delivery as d (id, tenant_id, endpoint_id, event_id, next_attempt_at)
    select id, tenant_id, endpoint_id, event_id, now() from unnest(
      ${deliveries.map(({ id }) => id)}::uuid[],
      ${deliveries.map(({ tenantId }) => tenantId)}::uuid[],
      ${deliveries.map(({ endpointId }) => endpointId)}::uuid[],
      ${deliveries.map(({ eventId }) => eventId)}::uuid[]) as n (id, tenant_id, endpoint_id, event_id)
    on conflict (endpoint_id, event_id) do update set status = 'pending', next_attempt_at = now(), settled_at = null
      where d.tenant_id = excluded.tenant_id and (d.status <> 'pending' or d.attempt_count > 0 and d.parked_after is null
        and not (select ordered from webhook_endpoint w where w.id = d.endpoint_id))
    returning d.id, d.event_id`)
  return new Map(rows.map(({ id, event_id }) => [event_id, id]))
}

/** The first event of the tenant at this position or after it: where it is, and when it was recorded. */
export async function eventFrom(
  db: Queryable,
  tenantId: TenantId,
  sequence: bigint,
): Promise<{ readonly sequence: bigint; readonly createdAt: Date } | undefined> {
  const [row] = await db.query<{ sequence: bigint; createdAt: Date }>(sql`
    select seq as sequence, created_at as "createdAt" from event
    where tenant_id = ${tenantId} and seq >= ${sequence} order by seq limit 1`)
  return row
}

/** Replays that finished before this many days ago go. */
export function deleteOldReplays(db: Queryable, days: number): Promise<number> {
  return db.execute(sql`delete from replay where finished_at < now() - ${days} * interval '1 day'`)
}

// Helpers

/** Event `e` at endpoint `w` with delivery `d`: a test event is for the endpoint that it was made for. */
const isDeliverable: Sql = sql`(e.type = any (${[...typesWaking('fan-out')]}::text[]) or e.type = 'webhook.tested' and d.id is not null)`

function replayed({ tenantId, endpointId, since, until, after, last, onlyFailed }: ReplayRange): Sql {
  const chosen = onlyFailed
    ? sql`(d.status in ('exhausted', 'dropped') or d.status = 'pending' and d.attempt_count > 0)`
    : sql`${endpointWantsEvent}`
  return sql`from event e join webhook_endpoint w on w.id = ${endpointId} and w.tenant_id = e.tenant_id
    left join delivery d on d.endpoint_id = w.id and d.event_id = e.id
    where e.tenant_id = ${tenantId} and e.seq > ${after} and e.seq <= ${last}
      and e.created_at >= ${since} and e.created_at <= ${until} and ${isDeliverable} and ${chosen}`
}
