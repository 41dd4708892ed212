/** Webhook endpoints as stored. A deleted one keeps its row, because deliveries point to it. */
import sql, { type Sql } from 'sql-template-tag'
import { type InstanceId, idFromColumn, type TenantId, type WebhookId } from '../../kernel/ids.js'
import type { Queryable, Tx } from '../../platform/database/database.js'
import type { PublicEventType } from '../events/event.js'
import type { EventKey } from '../events/event-store.js'
import { endpointWantsEvent } from '../events/record.js'
import { typesWaking } from '../events/subscriptions.js'
import { type CircuitRow, circuitColumns, toCircuit } from './circuit-store.js'
import type { DisabledReason, Endpoint, SealedSecrets } from './endpoint.js'

export interface NewEndpoint {
  readonly id: WebhookId
  readonly instanceId: InstanceId | null
  readonly url: string
  readonly events: readonly PublicEventType[] | null
  readonly ordered: boolean
  readonly secretSealed: Buffer
}

/** What an owner may change; absent members stay. */
export interface EndpointChange {
  readonly url?: string | undefined
  readonly events?: readonly PublicEventType[] | null | undefined
  readonly instanceId?: InstanceId | null | undefined
  readonly ordered?: boolean | undefined
  readonly enabled?: boolean | undefined
}

interface EndpointRow extends CircuitRow {
  id: string
  tenant_id: string
  instance_id: string | null
  url: string
  events: PublicEventType[] | null
  format: 'standard'
  secret_sealed: Buffer
  old_secret_sealed: Buffer | null
  old_secret_until: Date | null
  ordered: boolean
  enabled: boolean
  disabled_reason: string | null
  created_at: Date
  updated_at: Date
}

const endpointColumns: Sql = sql`
  w.id, w.tenant_id, w.instance_id, w.url, w.events, w.format, w.secret_sealed, w.old_secret_sealed, w.old_secret_until,
  w.ordered, w.enabled, w.disabled_reason, w.created_at, w.updated_at, ${circuitColumns}`

/** A statement that returns the rows \`w\` it wrote, with all that is shown of an endpoint. */
const returningEndpoint = (change: Sql): Sql => sql`
  with w as (${change} returning w.*)
  select ${endpointColumns} from w left join endpoint_circuit c on c.endpoint_id = w.id`

/** The position that an ordered endpoint starts from: nothing before it was wanted, or it is on its way already. */
const lastPosition = (tenantId: TenantId): Sql =>
  sql`coalesce((select last_seq from event_counter where tenant_id = ${tenantId}), 0)`

export async function insertEndpoint(db: Queryable, tenantId: TenantId, endpoint: NewEndpoint): Promise<Endpoint> {
  const [row] = await db.query<EndpointRow>(
    returningEndpoint(sql`
    insert into webhook_endpoint as w (id, tenant_id, instance_id, url, events, ordered, ordered_after, secret_sealed)
    values (${endpoint.id}, ${tenantId}, ${endpoint.instanceId}, ${endpoint.url}, ${textArray(endpoint.events)}::text[],
      ${endpoint.ordered}, ${lastPosition(tenantId)}, ${endpoint.secretSealed})`),
  )
  if (!row) throw new Error('an inserted endpoint was not returned')
  return toEndpoint(row)
}

export async function findEndpoint(
  db: Queryable,
  tenantId: TenantId,
  endpointId: WebhookId,
): Promise<Endpoint | undefined> {
  const [row] = await db.query<EndpointRow>(sql`
    select ${endpointColumns} from webhook_endpoint w left join endpoint_circuit c on c.endpoint_id = w.id
    where w.tenant_id = ${tenantId} and w.id = ${endpointId} and w.deleted_at is null`)
  return row && toEndpoint(row)
}

/** The newest first. */
export async function listEndpoints(
  db: Queryable,
  tenantId: TenantId,
  { limit, before }: { readonly limit: number; readonly before?: WebhookId | undefined },
): Promise<Endpoint[]> {
  const older = before ? sql`and w.id < ${before}` : sql``
  const rows = await db.query<EndpointRow>(sql`
    select ${endpointColumns} from webhook_endpoint w left join endpoint_circuit c on c.endpoint_id = w.id
    where w.tenant_id = ${tenantId} and w.deleted_at is null ${older}
    order by w.id desc limit ${limit}`)
  return rows.map(toEndpoint)
}

/** Undefined when there is no such endpoint. */
export async function changeEndpoint(
  db: Queryable,
  tenantId: TenantId,
  endpointId: WebhookId,
  { url, events, instanceId, ordered, enabled }: EndpointChange,
): Promise<Endpoint | undefined> {
  const [row] = await db.query<EndpointRow>(
    returningEndpoint(sql`
    update webhook_endpoint w set
      url = coalesce(${url ?? null}, url),
      events = case when ${events !== undefined} then ${textArray(events ?? null)}::text[] else events end,
      instance_id = case when ${instanceId !== undefined} then ${instanceId ?? null}::uuid else instance_id end,
      ordered = coalesce(${ordered ?? null}, ordered),
      -- What came while it was disabled was not wanted. Nothing else may move it on: what is recorded is not yet delivered.
      ordered_after = case
        when ${enabled ?? null}::boolean and not enabled or ${ordered ?? null}::boolean and not ordered
          then ${lastPosition(tenantId)}
        else ordered_after end,
      enabled = coalesce(${enabled ?? null}, enabled),
      disabled_reason = case when ${enabled ?? null}::boolean is null then disabled_reason end,
      updated_at = now()
    where w.tenant_id = ${tenantId} and w.id = ${endpointId} and w.deleted_at is null`),
  )
  return row && toEndpoint(row)
}

/** The current secret becomes the old one. Undefined when there is no such endpoint. */
export async function replaceSecret(
  db: Queryable,
  tenantId: TenantId,
  endpointId: WebhookId,
  { secretSealed, oldUntil }: { readonly secretSealed: Buffer; readonly oldUntil: Date },
): Promise<Endpoint | undefined> {
  const [row] = await db.query<EndpointRow>(
    returningEndpoint(sql`
    update webhook_endpoint w set
      old_secret_sealed = secret_sealed, old_secret_until = ${oldUntil}, secret_sealed = ${secretSealed},
      updated_at = now()
    where w.tenant_id = ${tenantId} and w.id = ${endpointId} and w.deleted_at is null`),
  )
  return row && toEndpoint(row)
}

/** Secrets whose time beside the new ones is over. Resolves to how many were forgotten. */
export function forgetOldSecrets(db: Queryable): Promise<number> {
  return db.execute(sql`
    update webhook_endpoint set old_secret_sealed = null, old_secret_until = null
    where old_secret_sealed is not null and old_secret_until <= now()`)
}

/** Stops deliveries to it. False when it was not enabled (any more). */
export async function disableEndpoint(
  db: Queryable,
  tenantId: TenantId,
  endpointId: WebhookId,
  reason: DisabledReason,
): Promise<boolean> {
  const touched = await db.execute(sql`
    update webhook_endpoint set enabled = false, disabled_reason = ${reason}, updated_at = now()
    where tenant_id = ${tenantId} and id = ${endpointId} and enabled and deleted_at is null`)
  return touched > 0
}

/** Nothing opens a deleted endpoint's secret again, so it goes. False when there is no such endpoint. */
export async function deleteEndpoint(db: Queryable, tenantId: TenantId, endpointId: WebhookId): Promise<boolean> {
  const touched = await db.execute(sql`
    update webhook_endpoint set
      deleted_at = now(), enabled = false, secret_sealed = '', old_secret_sealed = null, old_secret_until = null
    where tenant_id = ${tenantId} and id = ${endpointId} and deleted_at is null`)
  return touched > 0
}

/** Whether the tenant has this instance. A foreign key alone would accept that of another tenant. */
export async function hasInstance(db: Queryable, tenantId: TenantId, instanceId: InstanceId): Promise<boolean> {
  const rows = await db.query(sql`
    select from instance where tenant_id = ${tenantId} and id = ${instanceId} and deleted_at is null`)
  return rows.length > 0
}

export interface Target extends EventKey {
  readonly endpointId: WebhookId
  /** Where the endpoint is an ordered one: what follows one another there. */
  readonly orderKey: string | null
  readonly sequence: bigint
}

/** Where an ordered endpoint has got to in its tenant's sequence. Others wait until the transaction ends. */
export async function lockOrderedPosition(
  tx: Tx,
  tenantId: TenantId,
  endpointId: WebhookId,
): Promise<bigint | undefined> {
  const [row] = await tx.query<{ ordered_after: bigint }>(sql`
    select ordered_after from webhook_endpoint
    where id = ${endpointId} and tenant_id = ${tenantId} and ordered and enabled and deleted_at is null
    for no key update`)
  return row?.ordered_after
}

/** What the endpoint wants of the events after one position up to another, in sequence. */
export async function findTargetsBetween(
  db: Queryable,
  { tenantId, endpointId }: { readonly tenantId: TenantId; readonly endpointId: WebhookId },
  { after, upTo }: { readonly after: bigint; readonly upTo: bigint },
): Promise<Target[]> {
  return db.query<Target>(sql`
    select e.tenant_id as "tenantId", e.id as "eventId", w.id as "endpointId", e.seq as sequence, ${orderKey} as "orderKey"
    from event e join webhook_endpoint w on ${endpointWantsEvent}
    where e.tenant_id = ${tenantId} and e.seq > ${after} and e.seq <= ${upTo}
      and e.type = any (${[...typesWaking('fan-out')]}::text[]) and w.id = ${endpointId}
    order by e.seq`)
}

export async function moveOrderedPosition(
  tx: Tx,
  tenantId: TenantId,
  endpointId: WebhookId,
  to: bigint,
): Promise<void> {
  await tx.execute(sql`
    update webhook_endpoint set ordered_after = ${to} where id = ${endpointId} and tenant_id = ${tenantId}`)
}

/**
 * What event \`e\` follows at an ordered endpoint \`w\`: its chat; where it has none, what else it speaks of. Null: nothing.
 */
export const orderKey: Sql = sql`case when w.ordered then w.id || ' ' || coalesce(
  case when e.type like 'message.%' then (
    select coalesce(chat.merged_into, chat.id) from message m join chat on chat.id = m.chat_id where m.id = e.subject_id) end,
  e.subject_id, e.instance_id, e.tenant_id) end`

export const toSealedSecrets = (
  row: Pick<EndpointRow, 'secret_sealed' | 'old_secret_sealed' | 'old_secret_until'>,
): SealedSecrets => ({ current: row.secret_sealed, old: row.old_secret_sealed, oldUntil: row.old_secret_until })

const textArray = (items: readonly string[] | null): string[] | null => (items === null ? null : [...items])

function toEndpoint(row: EndpointRow): Endpoint {
  return {
    id: idFromColumn('whe', row.id),
    tenantId: idFromColumn('ten', row.tenant_id),
    instanceId: row.instance_id === null ? null : idFromColumn('ins', row.instance_id),
    url: row.url,
    events: row.events,
    format: row.format,
    ordered: row.ordered,
    enabled: row.enabled,
    disabledReason: row.disabled_reason,
    secrets: toSealedSecrets(row),
    circuit: toCircuit(row),
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  }
}
