/**
 * Deliveries and their attempts as stored. What a worker does is batched: one statement for many deliveries. Those that
 * look rows up are not prepared: a plan that was made while the table was small would go on reading all of it.
 */
import sql, { type Sql } from 'sql-template-tag'
import { type DeliveryId, type EventId, idFromColumn, type TenantId, type WebhookId } from '../../kernel/ids.js'
import type { Queryable } from '../../platform/database/database.js'
import type { PublicEventType } from '../events/event.js'
import type { Circuit } from './circuit.js'
import { type CircuitRow, circuitColumns, toCircuit } from './circuit-store.js'
import type { Attempt, Delivery, DeliveryKey, DeliveryStatus } from './delivery.js'
import type { SealedSecrets } from './endpoint.js'
import { type Target, toSealedSecrets } from './endpoint-store.js'

export type NewDelivery = Pick<Target, 'tenantId' | 'endpointId' | 'eventId'> & { readonly id: DeliveryId }

/** Inserts those that do not exist yet for their endpoint and event; resolves to these. */
export async function insertDeliveries(db: Queryable, deliveries: readonly NewDelivery[]): Promise<DeliveryKey[]> {
  const rows = await db.query<{ id: DeliveryId; tenant_id: TenantId }>(
    sql`
      insert into delivery (id, tenant_id, endpoint_id, event_id, next_attempt_at)
      select id, tenant_id, endpoint_id, event_id, now() from unnest(
        ${deliveries.map(({ id }) => id)}::uuid[],
        ${deliveries.map(({ tenantId }) => tenantId)}::uuid[],
        ${deliveries.map(({ endpointId }) => endpointId)}::uuid[],
        ${deliveries.map(({ eventId }) => eventId)}::uuid[]) as d (id, tenant_id, endpoint_id, event_id)
      on conflict (endpoint_id, event_id) do nothing
      returning id, tenant_id`,
    'delivery-insert',
  )
  return rows.map((row) => ({ deliveryId: row.id, tenantId: row.tenant_id }))
}

/** All that a try needs. */
export interface Parcel extends DeliveryKey {
  readonly status: DeliveryStatus
  readonly eventId: EventId
  readonly sequence: bigint
  /** The frozen body; null when nobody has made it yet. */
  readonly body: string | null
  readonly endpoint: {
    readonly id: WebhookId
    readonly tenantId: TenantId
    readonly url: string
    /** Neither disabled nor deleted. */
    readonly active: boolean
    readonly ordered: boolean
    readonly circuit: Circuit
    readonly secrets: SealedSecrets
  }
}

interface ParcelRow extends CircuitRow {
  id: DeliveryId
  tenant_id: TenantId
  status: DeliveryStatus
  event_id: EventId
  seq: bigint
  body: string | null
  endpoint_id: WebhookId
  url: string
  active: boolean
  ordered: boolean
  secret_sealed: Buffer
  old_secret_sealed: Buffer | null
  old_secret_until: Date | null
}

/**
 * In no order; those that do not exist are missing. Row by row, which `limit` makes certain: left to itself, and with
 * statistics from before a burst, PostgreSQL joined keys and endpoints by their tenant, and read all deliveries of each.
 */
export async function loadParcels(db: Queryable, keys: readonly DeliveryKey[]): Promise<Parcel[]> {
  const rows = await db.query<ParcelRow>(
    sql`
      select d.id, d.tenant_id, d.status, d.event_id, e.seq, e.body, w.id as endpoint_id, w.url,
        w.enabled and w.deleted_at is null as active, w.ordered, w.secret_sealed, w.old_secret_sealed, w.old_secret_until,
        ${circuitColumns}
      from unnest(
        ${keys.map(({ tenantId }) => tenantId)}::uuid[],
        ${keys.map(({ deliveryId }) => deliveryId)}::uuid[]) as key (tenant_id, id)
      cross join lateral (select * from delivery where id = key.id and tenant_id = key.tenant_id limit 1) d
      cross join lateral (select seq, body from event where id = d.event_id and tenant_id = d.tenant_id limit 1) e
      cross join lateral (
        select * from webhook_endpoint where id = d.endpoint_id and tenant_id = d.tenant_id limit 1) w
      left join endpoint_circuit c on c.endpoint_id = d.endpoint_id`,
  )
  return rows.map((row) => ({
    deliveryId: row.id,
    tenantId: row.tenant_id,
    status: row.status,
    eventId: row.event_id,
    sequence: row.seq,
    body: row.body,
    endpoint: {
      id: row.endpoint_id,
      tenantId: row.tenant_id,
      url: row.url,
      active: row.active,
      ordered: row.ordered,
      circuit: toCircuit(row),
      secrets: toSealedSecrets(row),
    },
  }))
}

/** A try that was made, and where it leaves the delivery. */
export interface AttemptResult extends DeliveryKey, Omit<Attempt, 'number'> {
  readonly deliveryStatus: DeliveryStatus
  readonly nextAttemptAt: Date | null
}

/**
 * Adds one attempt to each delivery and moves it on. A delivery that has been delivered stays so: after a crash two workers
 * may have tried it, and what one of them brought home counts.
 */
export async function recordAttempts(db: Queryable, results: readonly AttemptResult[]): Promise<void> {
  await db.execute(
    sql`
      with result as (
        select * from unnest(
          ${results.map(({ tenantId }) => tenantId)}::uuid[],
          ${results.map(({ deliveryId }) => deliveryId)}::uuid[],
          ${results.map(({ deliveryStatus }) => deliveryStatus)}::text[],
          ${results.map(({ nextAttemptAt }) => nextAttemptAt)}::timestamptz[],
          ${results.map(({ startedAt }) => startedAt)}::timestamptz[],
          ${results.map(({ durationMs }) => durationMs)}::int[],
          ${results.map(({ status }) => status)}::int[],
          ${results.map(({ error }) => error)}::text[],
          ${results.map(({ answer }) => answer)}::text[])
        as r (tenant_id, delivery_id, delivery_status, next_attempt_at, started_at, duration_ms, status, error, answer)
      ), moved as (
        update delivery d set
          attempt_count = d.attempt_count + 1,
          status = case d.status when 'delivered' then d.status else r.delivery_status end,
          next_attempt_at = case d.status when 'delivered' then null else r.next_attempt_at end,
          settled_at = case when d.status = 'delivered' then d.settled_at
            when r.delivery_status <> 'pending' then now() end
        from result r where d.id = r.delivery_id and d.tenant_id = r.tenant_id
        returning d.id, d.tenant_id, d.attempt_count
      )
      insert into attempt (delivery_id, tenant_id, number, started_at, duration_ms, status, error, answer)
      select m.id, m.tenant_id, m.attempt_count, r.started_at, r.duration_ms, r.status, r.error, r.answer
      from moved m join result r on r.delivery_id = m.id and r.tenant_id = m.tenant_id
      on conflict (delivery_id, number) do nothing`,
  )
}

/** Gives up deliveries that nobody wants any more. */
export async function dropDelivery(db: Queryable, { tenantId, deliveryId }: DeliveryKey): Promise<void> {
  await db.execute(
    sql`
      update delivery set status = 'dropped', next_attempt_at = null, settled_at = now()
      where id = ${deliveryId} and tenant_id = ${tenantId} and status in ('pending', 'exhausted')`,
    'delivery-drop',
  )
}

/**
 * Deletes deliveries, with their attempts, that were made and settled before then; not those whose dead letter still waits for
 * a person. Resolves to how many.
 */
export function deleteSettledDeliveries(
  db: Queryable,
  { madeBefore, settledBefore, limit }: { madeBefore: DeliveryId; settledBefore: Date; limit: number },
): Promise<number> {
  return db.execute(sql`
    delete from delivery where id in (
      select d.id from delivery d where d.id < ${madeBefore} and d.status <> 'pending' and d.settled_at < ${settledBefore}
        and (d.status <> 'exhausted' or not exists (
          select from job j where j.tenant_id = d.tenant_id and j.state = 'dead' and j.subject_id = d.id))
      order by d.id limit ${limit} for update skip locked)`)
}

interface DeliveryRow {
  id: string
  tenant_id: string
  endpoint_id: string
  event_id: string
  type: PublicEventType
  status: DeliveryStatus
  attempt_count: number
  next_attempt_at: Date | null
  parked: boolean
  created_at: Date
  settled_at: Date | null
}

const deliveryColumns: Sql = sql`
  d.id, d.tenant_id, d.endpoint_id, d.event_id, e.type, d.status, d.attempt_count, d.next_attempt_at,
  d.parked_after is not null and d.status = 'pending' as parked, d.created_at, d.settled_at`

/** Of one endpoint, the newest first. */
export async function listDeliveries(
  db: Queryable,
  tenantId: TenantId,
  page: {
    readonly endpointId: WebhookId
    readonly status?: DeliveryStatus | undefined
    readonly before?: DeliveryId | undefined
    readonly limit: number
  },
): Promise<Delivery[]> {
  const ofStatus = page.status ? sql`and d.status = ${page.status}` : sql``
  const older = page.before ? sql`and d.id < ${page.before}` : sql``
  const rows = await db.query<DeliveryRow>(sql`
    select ${deliveryColumns} from delivery d join event e on e.id = d.event_id
    where d.tenant_id = ${tenantId} and d.endpoint_id = ${page.endpointId} ${ofStatus} ${older}
    order by d.id desc limit ${page.limit}`)
  return rows.map(toDelivery)
}

export async function findDelivery(
  db: Queryable,
  tenantId: TenantId,
  deliveryId: DeliveryId,
): Promise<Delivery | undefined> {
  const [row] = await db.query<DeliveryRow>(sql`
    select ${deliveryColumns} from delivery d join event e on e.id = d.event_id
    where d.tenant_id = ${tenantId} and d.id = ${deliveryId}`)
  return row && toDelivery(row)
}

/** Whether this is the delivery of an event of this type. */
export async function delivers(
  db: Queryable,
  tenantId: TenantId,
  deliveryId: DeliveryId,
  type: PublicEventType,
): Promise<boolean> {
  const rows = await db.query(sql`
    select from delivery d join event e on e.id = d.event_id
    where d.tenant_id = ${tenantId} and d.id = ${deliveryId} and e.type = ${type}`)
  return rows.length > 0
}

/** In order. */
export async function listAttempts(db: Queryable, tenantId: TenantId, deliveryId: DeliveryId): Promise<Attempt[]> {
  const rows = await db.query<{
    number: number
    started_at: Date
    duration_ms: number
    status: number | null
    error: string | null
    answer: string | null
  }>(sql`
    select number, started_at, duration_ms, status, error, answer from attempt
    where tenant_id = ${tenantId} and delivery_id = ${deliveryId} order by number`)
  return rows.map(({ started_at, duration_ms, ...rest }) => ({
    ...rest,
    startedAt: started_at,
    durationMs: duration_ms,
  }))
}

function toDelivery(row: DeliveryRow): Delivery {
  return {
    id: idFromColumn('dlv', row.id),
    tenantId: idFromColumn('ten', row.tenant_id),
    endpointId: idFromColumn('whe', row.endpoint_id),
    eventId: idFromColumn('evt', row.event_id),
    eventType: row.type,
    status: row.status,
    attemptCount: row.attempt_count,
    nextAttemptAt: row.parked ? null : row.next_attempt_at,
    waitsForCircuit: row.parked,
    createdAt: row.created_at,
    settledAt: row.settled_at,
  }
}
