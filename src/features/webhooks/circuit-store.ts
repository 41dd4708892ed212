/** Circuits as stored, and the deliveries that are put aside while one is not closed. */
import sql from 'sql-template-tag'
import type { DeliveryId, TenantId, WebhookId } from '../../kernel/ids.js'
import type { Queryable } from '../../platform/database/database.js'
import { type Circuit, type CircuitState, circuitPolicy, closedCircuit } from './circuit.js'
import type { DeliveryKey } from './delivery.js'

export interface EndpointKey {
  readonly tenantId: TenantId
  readonly endpointId: WebhookId
}

/** Of the row `c` of a left join: all null where the endpoint never failed. */
export interface CircuitRow {
  circuit_state: CircuitState | null
  opened_at: Date | null
  probe_at: Date | null
  probe_delivery_id: DeliveryId | null
  failing_since: Date | null
  failure_count: number | null
}

export const circuitColumns = sql`
  c.state as circuit_state, c.opened_at, c.probe_at, c.probe_delivery_id, c.failing_since, c.failure_count`

export const toCircuit = (row: CircuitRow): Circuit =>
  row.circuit_state === null
    ? closedCircuit
    : {
        state: row.circuit_state,
        openedAt: row.opened_at,
        probeAt: row.probe_at,
        probeDeliveryId: row.probe_delivery_id,
        failingSince: row.failing_since,
        failureCount: row.failure_count ?? 0,
      }

export interface Failing extends EndpointKey {
  readonly failingSince: Date
  readonly failureCount: number
}

/** Counts failures, one for each key; resolves to how long their endpoints have been failing. */
export async function countFailures(db: Queryable, keys: readonly EndpointKey[]): Promise<Failing[]> {
  return db.query<Failing>(
    sql`
      insert into endpoint_circuit as c (endpoint_id, tenant_id, failing_since, failure_count)
      select endpoint_id, tenant_id, now(), count(*) from unnest(
        ${keys.map(({ endpointId }) => endpointId)}::uuid[],
        ${keys.map(({ tenantId }) => tenantId)}::uuid[]) as k (endpoint_id, tenant_id)
      group by endpoint_id, tenant_id order by endpoint_id
      on conflict (endpoint_id) do update set
        failing_since = coalesce(c.failing_since, excluded.failing_since),
        failure_count = c.failure_count + excluded.failure_count
      returning endpoint_id as "endpointId", tenant_id as "tenantId", failing_since as "failingSince",
        failure_count as "failureCount"`,
    'circuit-failures',
  )
}

/** False when it was not closed. */
export async function openCircuit(db: Queryable, { tenantId, endpointId }: EndpointKey): Promise<boolean> {
  const touched = await db.execute(sql`
    update endpoint_circuit set state = 'open', opened_at = now(),
      probe_at = now() + ${circuitPolicy.probeEveryMs} * interval '1 ms'
    where endpoint_id = ${endpointId} and tenant_id = ${tenantId} and state = 'closed'`)
  return touched > 0
}

/**
 * After a success, or when their owner has changed the endpoints. Resolves to those that were not closed. One statement for all,
 * and none of them is touched that has nothing to forget: they are rows that every try of a flaky endpoint would queue for.
 */
export async function closeCircuits(db: Queryable, keys: readonly EndpointKey[]): Promise<EndpointKey[]> {
  const closed = await db.query<EndpointKey & { state: CircuitState }>(sql`
    with before as (
      select c.endpoint_id, c.state from endpoint_circuit c
      join (select distinct * from unnest(
        ${keys.map(({ endpointId }) => endpointId)}::uuid[],
        ${keys.map(({ tenantId }) => tenantId)}::uuid[]) as k (endpoint_id, tenant_id)) k using (endpoint_id, tenant_id)
      where c.state <> 'closed' or c.failing_since is not null
      order by c.endpoint_id for update of c
    )
    update endpoint_circuit c set state = 'closed', opened_at = null, probe_at = null, probe_delivery_id = null,
      failing_since = null, failure_count = 0
    from before where c.endpoint_id = before.endpoint_id
    returning c.endpoint_id as "endpointId", c.tenant_id as "tenantId", before.state`)
  return closed.flatMap(({ state, endpointId, tenantId }) => (state === 'closed' ? [] : [{ endpointId, tenantId }]))
}

/** Makes a delivery that has come due the probe. False when no probe is due. */
export async function beginProbe(
  db: Queryable,
  { tenantId, endpointId, deliveryId }: EndpointKey & DeliveryKey,
): Promise<boolean> {
  const touched = await db.execute(sql`
    update endpoint_circuit set state = 'half_open', probe_delivery_id = ${deliveryId},
      probe_at = now() + ${circuitPolicy.probeTimeoutMs} * interval '1 ms'
    where endpoint_id = ${endpointId} and tenant_id = ${tenantId} and state <> 'closed' and probe_at <= now()`)
  return touched > 0
}

/** The probe failed: open again. */
export async function endProbe(
  db: Queryable,
  { tenantId, endpointId, deliveryId }: EndpointKey & DeliveryKey,
): Promise<void> {
  await db.execute(sql`
    update endpoint_circuit set state = 'open', probe_delivery_id = null,
      probe_at = now() + ${circuitPolicy.probeEveryMs} * interval '1 ms'
    where endpoint_id = ${endpointId} and tenant_id = ${tenantId} and state = 'half_open'
      and probe_delivery_id = ${deliveryId}`)
}

// What is put aside

export interface Parking extends DeliveryKey {
  /** How many tries are used up. */
  readonly tries: number
}

/**
 * Puts deliveries aside; resolves to those that are now. Not those whose circuit has been closed meanwhile: the lock makes the
 * closing wait, so that whoever releases after it finds all that was put aside before.
 */
export async function parkDeliveries(db: Queryable, parkings: readonly Parking[]): Promise<Set<DeliveryId>> {
  const rows = await db.query<{ id: DeliveryId }>(sql`
    with item as materialized (
      select d.id, d.endpoint_id, i.tries from unnest(
        ${parkings.map(({ tenantId }) => tenantId)}::uuid[],
        ${parkings.map(({ deliveryId }) => deliveryId)}::uuid[],
        ${parkings.map(({ tries }) => tries)}::int[]) as i (tenant_id, id, tries)
      join delivery d on d.id = i.id and d.tenant_id = i.tenant_id
    ), not_closed as materialized (
      select endpoint_id from endpoint_circuit
      where state <> 'closed' and endpoint_id in (select endpoint_id from item)
      order by endpoint_id for share
    )
    update delivery d set status = 'pending', settled_at = null, parked_after = item.tries,
      next_attempt_at = least(d.next_attempt_at, now())
    from item join not_closed using (endpoint_id)
    where d.id = item.id and d.status in ('pending', 'exhausted')
    returning d.id`)
  return new Set(rows.map(({ id }) => id))
}

/** Takes back what was put aside, the longest due first. */
export async function unparkDeliveries(
  db: Queryable,
  { tenantId, endpointId }: EndpointKey,
  limit: number,
): Promise<Parking[]> {
  return db.query<Parking>(sql`
    with chosen as (
      select id, parked_after from delivery
      where endpoint_id = ${endpointId} and tenant_id = ${tenantId} and parked_after is not null
      order by next_attempt_at limit ${limit} for update skip locked
    )
    update delivery d set parked_after = null from chosen where d.id = chosen.id
    returning d.id as "deliveryId", d.tenant_id as "tenantId", chosen.parked_after as tries`)
}

/** Takes back one delivery and makes it the probe, where a probe is due. */
export async function unparkProbe(db: Queryable, { tenantId, endpointId }: EndpointKey): Promise<Parking | undefined> {
  const [probe] = await db.query<Parking>(sql`
    with chosen as (
      select id, parked_after from delivery
      where endpoint_id = ${endpointId} and tenant_id = ${tenantId} and parked_after is not null
      order by next_attempt_at limit 1 for update skip locked
    ), begun as (
      update endpoint_circuit c set state = 'half_open', probe_delivery_id = chosen.id,
        probe_at = now() + ${circuitPolicy.probeTimeoutMs} * interval '1 ms'
      from chosen
      where c.endpoint_id = ${endpointId} and c.tenant_id = ${tenantId} and c.state <> 'closed' and c.probe_at <= now()
      returning c.probe_delivery_id as id
    )
    update delivery d set parked_after = null from chosen join begun using (id) where d.id = chosen.id
    returning d.id as "deliveryId", d.tenant_id as "tenantId", chosen.parked_after as tries`)
  return probe
}

/** Whether the endpoint may be called at all, and its circuit. Undefined when there is no such endpoint. */
export async function findCircuit(
  db: Queryable,
  { tenantId, endpointId }: EndpointKey,
): Promise<{ readonly active: boolean; readonly circuit: Circuit } | undefined> {
  const [row] = await db.query<CircuitRow & { active: boolean }>(sql`
    select w.enabled and w.deleted_at is null as active, ${circuitColumns}
    from webhook_endpoint w left join endpoint_circuit c on c.endpoint_id = w.id
    where w.id = ${endpointId} and w.tenant_id = ${tenantId}`)
  return row && { active: row.active, circuit: toCircuit(row) }
}

/** Endpoints with deliveries that are put aside. */
export async function findParkedEndpoints(db: Queryable): Promise<EndpointKey[]> {
  return db.query<EndpointKey>(sql`
    select c.endpoint_id as "endpointId", c.tenant_id as "tenantId" from endpoint_circuit c
    where exists (select from delivery d where d.endpoint_id = c.endpoint_id and d.parked_after is not null)`)
}
