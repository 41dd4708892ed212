/** What the trace of a message reads, across features. */
import sql from 'sql-template-tag'
import type { DeliveryId, EventId, InstanceId, MessageId, TenantId } from '../../kernel/ids.js'
import type { Queryable } from '../../platform/database/database.js'
import type { EventType } from '../events/event.js'
import type { MessageStatus } from '../messages/message.js'
import type { Attempt, Delivery } from '../webhooks/delivery.js'

export interface TracedMessage {
  readonly id: MessageId
  readonly whatsappId: string
  readonly instanceId: InstanceId
  readonly direction: 'outbound' | 'inbound'
  readonly origin: string
  readonly status: MessageStatus
  readonly holdReason: string | null
  readonly hasPlace: boolean
  readonly attempts: number
  readonly epoch: bigint | null
  readonly errorCode: string | null
  readonly createdAt: Date
  readonly firstTryAt: Date | null
  readonly leftAt: Date | null
  readonly sentAt: Date | null
  readonly deliveredAt: Date | null
  readonly readAt: Date | null
  readonly playedAt: Date | null
}

export async function findTraced(
  db: Queryable,
  tenantId: TenantId,
  messageId: MessageId,
): Promise<TracedMessage | undefined> {
  const [row] = await db.query<TracedMessage>(sql`
    select id, whatsapp_id as "whatsappId", instance_id as "instanceId", direction, origin, status,
      hold_reason as "holdReason", chat_seq is not null as "hasPlace", attempts, epoch, error_code as "errorCode",
      created_at as "createdAt", first_try_at as "firstTryAt", left_at as "leftAt", sent_at as "sentAt",
      delivered_at as "deliveredAt", read_at as "readAt", played_at as "playedAt"
    from message where tenant_id = ${tenantId} and id = ${messageId}`)
  return row
}

export interface TracedEvent {
  readonly id: EventId
  readonly type: EventType
  readonly errorCode: string | null
  readonly createdAt: Date
}

/** What was recorded of the message, in sequence. */
export async function listTracedEvents(
  db: Queryable,
  tenantId: TenantId,
  messageId: MessageId,
): Promise<TracedEvent[]> {
  return db.query<TracedEvent>(sql`
    select id, type, data ->> 'errorCode' as "errorCode", created_at as "createdAt" from event
    where tenant_id = ${tenantId} and subject_id = ${messageId} order by seq`)
}

export interface TracedDelivery {
  readonly delivery: Delivery
  readonly attempts: readonly Attempt[]
}

/** The deliveries of these events with their tries, in the order in which they were made. */
export async function listTracedDeliveries(
  db: Queryable,
  tenantId: TenantId,
  eventIds: readonly EventId[],
): Promise<TracedDelivery[]> {
  const deliveries = await db.query<Delivery>(sql`
    select d.id, d.tenant_id as "tenantId", d.endpoint_id as "endpointId", d.event_id as "eventId",
      e.type as "eventType", d.status, d.attempt_count as "attemptCount",
      case when d.parked_after is null then d.next_attempt_at end as "nextAttemptAt",
      d.parked_after is not null and d.status = 'pending' as "waitsForCircuit",
      d.created_at as "createdAt", d.settled_at as "settledAt"
    from delivery d join event e on e.id = d.event_id
    where d.tenant_id = ${tenantId} and d.event_id = any (${eventIds}::uuid[]) order by d.id limit 500`)
  const attempts = await db.query<Attempt & { readonly deliveryId: DeliveryId }>(sql`
    select delivery_id as "deliveryId", number, started_at as "startedAt", duration_ms as "durationMs", status, error, answer
    from attempt
    where tenant_id = ${tenantId} and delivery_id = any (${deliveries.map(({ id }) => id)}::uuid[]) order by number`)
  return deliveries.map((delivery) => ({
    delivery,
    attempts: attempts.filter(({ deliveryId }) => deliveryId === delivery.id),
  }))
}

/** Which replica held the instance under each of these epochs, as far as it was recorded. */
export async function findReplicas(
  db: Queryable,
  tenantId: TenantId,
  instanceId: InstanceId,
  epochs: readonly bigint[],
): Promise<ReadonlyMap<bigint, string>> {
  const rows = await db.query<{ epoch: string; replica: string }>(sql`
    select data ->> 'epoch' as epoch, data ->> 'replica' as replica from event
    where tenant_id = ${tenantId} and subject_id = ${instanceId} and type = 'lease.taken'
      and data ->> 'epoch' = any (${epochs.map(String)}::text[]) and data ? 'replica'`)
  return new Map(rows.map(({ epoch, replica }) => [BigInt(epoch), replica]))
}
