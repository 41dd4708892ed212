/**
 * Reading recorded events and freezing their bodies. They are written by record.ts. No statement here is a prepared one: a
 * plan that was made while the table was small would go on reading all of it when it is large.
 */
import sql, { type Sql } from 'sql-template-tag'
import { type EventId, type InstanceId, idFromColumn, type TenantId } from '../../kernel/ids.js'
import type { Queryable } from '../../platform/database/database.js'
import type { EventType, RecordedEvent } from './event.js'

/** An event with its body as it was first delivered, if it was. */
export interface StoredEvent extends RecordedEvent {
  readonly body: string | null
}

export interface EventKey {
  readonly tenantId: TenantId
  readonly eventId: EventId
}

export interface EventRange {
  /** Events after this position of the sequence. */
  readonly after: bigint
  readonly types: readonly EventType[]
  readonly instanceId?: InstanceId | undefined
  readonly limit: number
}

/** The row of `eventColumns`. */
export interface EventRow {
  id: string
  tenant_id: string
  seq: bigint
  type: EventType
  instance_id: string | null
  subject_id: string | null
  data: Readonly<Record<string, unknown>>
  body: string | null
  created_at: Date
}

/** Of event `e`. */
export const eventColumns: Sql = sql`e.id, e.tenant_id, e.seq, e.type, e.instance_id, e.subject_id, e.data, e.body, e.created_at`

/** The tenant's events of these types in sequence. */
export async function listEvents(db: Queryable, tenantId: TenantId, range: EventRange): Promise<StoredEvent[]> {
  const ofInstance = range.instanceId ? sql`and e.instance_id = ${range.instanceId}` : sql``
  const rows = await db.query<EventRow>(sql`
    select ${eventColumns} from event e
    where e.tenant_id = ${tenantId} and e.seq > ${range.after} and e.type = any (${[...range.types]}::text[]) ${ofInstance}
    order by e.seq limit ${range.limit}`)
  return rows.map(toEvent)
}

/** For several tenants at once, what follows each one's position: at most `limit` of each, in sequence. */
export async function listEventsAfter(
  db: Queryable,
  positions: readonly { readonly tenantId: TenantId; readonly after: bigint }[],
  limit: number,
): Promise<StoredEvent[]> {
  const rows = await db.query<EventRow>(
    sql`
      select e.* from unnest(
        ${positions.map(({ tenantId }) => tenantId)}::uuid[],
        ${positions.map(({ after }) => after)}::bigint[]) as position (tenant_id, after)
      cross join lateral (
        select ${eventColumns} from event e
        where e.tenant_id = position.tenant_id and e.seq > position.after
        order by e.seq limit ${limit}) e
      order by e.tenant_id, e.seq`,
  )
  return rows.map(toEvent)
}

/** The events with these ids, in no order. */
export async function findEvents(db: Queryable, keys: readonly EventKey[]): Promise<StoredEvent[]> {
  const rows = await db.query<EventRow>(
    sql`
      select ${eventColumns} from unnest(
        ${keys.map(({ tenantId }) => tenantId)}::uuid[],
        ${keys.map(({ eventId }) => eventId)}::uuid[]) as key (tenant_id, id)
      join event e on e.id = key.id and e.tenant_id = key.tenant_id`,
  )
  return rows.map(toEvent)
}

/** The position of the tenant's newest event; 0 before the first. */
export async function lastSequence(db: Queryable, tenantId: TenantId): Promise<bigint> {
  const [row] = await db.query<{ last_seq: bigint }>(
    sql`select last_seq from event_counter where tenant_id = ${tenantId}`,
  )
  return row?.last_seq ?? 0n
}

/** Between which positions events are kept: those after `oldest`, up to `newest`. */
export async function keptRange(
  db: Queryable,
  tenantId: TenantId,
): Promise<{ readonly oldest: bigint; readonly newest: bigint }> {
  const [row] = await db.query<{ oldest: bigint; newest: bigint }>(sql`
    select forgotten_seq as oldest, last_seq as newest from event_counter where tenant_id = ${tenantId}`)
  return row ?? { oldest: 0n, newest: 0n }
}

/**
 * Keeps these bodies as the events' bodies where none is kept yet, and returns what is kept now: whoever froze first wins,
 * so every attempt to every endpoint sends the same bytes.
 */
export async function freezeBodies(
  db: Queryable,
  bodies: readonly (EventKey & { readonly body: string })[],
): Promise<ReadonlyMap<EventId, string>> {
  const ordered = bodies.toSorted((left, right) => (left.eventId < right.eventId ? -1 : 1))
  const rows = await db.query<{ id: string; body: string }>(
    sql`
      update event e set body = coalesce(e.body, frozen.body)
      from unnest(
        ${ordered.map(({ tenantId }) => tenantId)}::uuid[],
        ${ordered.map(({ eventId }) => eventId)}::uuid[],
        ${ordered.map(({ body }) => body)}::text[]) as frozen (tenant_id, id, body)
      where e.id = frozen.id and e.tenant_id = frozen.tenant_id
      returning e.id, e.body`,
  )
  return new Map(rows.map(({ id, body }) => [idFromColumn('evt', id), body]))
}

export function toEvent(row: EventRow): StoredEvent {
  return {
    id: idFromColumn('evt', row.id),
    tenantId: idFromColumn('ten', row.tenant_id),
    seq: row.seq,
    type: row.type,
    instanceId: row.instance_id === null ? null : idFromColumn('ins', row.instance_id),
    subjectId: row.subject_id,
    data: row.data,
    body: row.body,
    createdAt: row.created_at,
  }
}
