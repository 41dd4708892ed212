/** Instances as their owner sees and changes them. */
import sql, { type Sql } from 'sql-template-tag'
import type { InstanceId, TenantId } from '../../kernel/ids.js'
import type { Queryable, Tx } from '../../platform/database/database.js'
import type { CloseReason } from '../../platform/whatsapp/close-reason.js'
import type { ConnectionStatus, InstanceState, StatusReason } from './instance.js'

export interface InstanceRow {
  readonly id: InstanceId
  readonly name: string
  readonly provider: string
  readonly enabled: boolean
  readonly status: ConnectionStatus
  readonly reason: StatusReason | null
  readonly since: Date
  readonly phone: string | null
  readonly lid: string | null
  readonly pushName: string | null
  readonly pictureUrl: string | null
  readonly restrictedUntil: Date | null
  readonly rejectCalls: boolean
  readonly reconnectAttempt: number
  readonly reconnectAt: Date | null
  readonly lastCloseReason: CloseReason | null
  readonly lastSeenAt: Date | null
  readonly createdAt: Date
  readonly updatedAt: Date
}

/**
 * CONNECTED is only shown while it is proved: a holder notes signs of life every half minute. Without one for minutes, no
 * replica may be running the instance, whatever the row says.
 */
const unconfirmed = sql`connection_status = 'CONNECTED' and coalesce(last_seen_at, status_since) < now() - interval '3 minutes'`
const shownStatus = sql`case when ${unconfirmed} then 'RECONNECTING' else connection_status end`
const columns = sql`
  id, name, provider, enabled, ${shownStatus} as status,
  case when ${unconfirmed} then 'UNCONFIRMED' else reason end as reason,
  case when ${unconfirmed} then coalesce(last_seen_at, status_since) else status_since end as since,
  phone, lid, push_name as "pushName", picture_url as "pictureUrl", reject_calls as "rejectCalls",
  case when restricted_until > now() then restricted_until end as "restrictedUntil", reconnect_attempt as "reconnectAttempt", reconnect_at as "reconnectAt",
  last_close_reason as "lastCloseReason", last_seen_at as "lastSeenAt", created_at as "createdAt",
  updated_at as "updatedAt"`

export interface NewInstance {
  readonly id: InstanceId
  readonly name: string
  readonly provider: string
  readonly enabled: boolean
  readonly state: InstanceState
}

/** Undefined when the tenant has an instance of this name. */
export async function insertInstance(
  tx: Tx,
  tenantId: TenantId,
  instance: NewInstance,
): Promise<InstanceRow | undefined> {
  const { id, name, provider, enabled, state } = instance
  const [row] = await tx.query<InstanceRow>(sql`
    insert into instance (id, tenant_id, name, provider, enabled, connection_status, reason, status_since)
    values (${id}, ${tenantId}, ${name}, ${provider}, ${enabled}, ${state.status}, ${state.reason}, ${state.since})
    on conflict (tenant_id, name) where deleted_at is null do nothing
    returning ${columns}`)
  return row
}

export async function findInstance(
  db: Queryable,
  tenantId: TenantId,
  id: InstanceId,
): Promise<InstanceRow | undefined> {
  const [row] = await db.query<InstanceRow>(sql`
    select ${columns} from instance where tenant_id = ${tenantId} and id = ${id} and deleted_at is null`)
  return row
}

/** The same, and nobody changes it until the end of the transaction. */
export async function lockInstance(tx: Tx, tenantId: TenantId, id: InstanceId): Promise<InstanceRow | undefined> {
  const [row] = await tx.query<InstanceRow>(sql`
    select ${columns} from instance where tenant_id = ${tenantId} and id = ${id} and deleted_at is null
    for no key update`)
  return row
}

export interface InstanceFilter {
  readonly enabled: boolean | undefined
  readonly connectionStatus: ConnectionStatus | undefined
  /** Only those created before this one. */
  readonly before: InstanceId | undefined
  readonly limit: number
}

/** The newest first. */
export async function listInstances(tx: Tx, tenantId: TenantId, filter: InstanceFilter): Promise<InstanceRow[]> {
  const { enabled, connectionStatus, before, limit } = filter
  return tx.query<InstanceRow>(sql`
    select ${columns} from instance
    where tenant_id = ${tenantId} and deleted_at is null
      and ${given(enabled, (value) => sql`enabled = ${value}`)}
      and ${given(connectionStatus, (value) => sql`${shownStatus} = ${value}`)}
      and ${given(before, (value) => sql`id < ${value}`)}
    order by id desc limit ${limit}`)
}

const given = <Value>(value: Value | undefined, condition: (value: Value) => Sql): Sql =>
  value === undefined ? sql`true` : condition(value)

/** What an owner may set without consequence for its connection. */
export interface InstanceSettings {
  readonly name?: string | undefined
  readonly rejectCalls?: boolean | undefined
}

/** Undefined when there is none. Violates the unique name (23505) when it is taken. */
export async function updateSettings(
  tx: Tx,
  tenantId: TenantId,
  id: InstanceId,
  { name, rejectCalls }: InstanceSettings,
): Promise<InstanceRow | undefined> {
  const [row] = await tx.query<InstanceRow>(sql`
    update instance set name = coalesce(${name ?? null}, name),
      reject_calls = coalesce(${rejectCalls ?? null}, reject_calls), updated_at = now()
    where tenant_id = ${tenantId} and id = ${id} and deleted_at is null
    returning ${columns}`)
  return row
}

export async function rejectsCalls(db: Queryable, tenantId: TenantId, id: InstanceId): Promise<boolean> {
  const rows = await db.query(
    sql`select from instance where tenant_id = ${tenantId} and id = ${id} and reject_calls`,
    'rejects_calls',
  )
  return rows.length > 0
}

export interface OwnersWord {
  readonly enabled: boolean
  readonly deleted: boolean
  readonly state: InstanceState
}

/** What the owner wants now, with the state that follows at once. Wakes the supervisors by NOTIFY `mirante_instance`. */
export async function saveOwnersWord(
  tx: Tx,
  tenantId: TenantId,
  id: InstanceId,
  { enabled, deleted, state }: OwnersWord,
): Promise<InstanceRow | undefined> {
  const [row] = await tx.query<InstanceRow>(sql`
    update instance set
      enabled = ${enabled}, deleted_at = case when ${deleted} then now() end,
      connection_status = ${state.status}, reason = ${state.reason}, status_since = ${state.since},
      qr_sealed = null, qr_expires_at = null, qr_session_expires_at = null,
      reconnect_attempt = 0, reconnect_at = null, updated_at = now()
    where tenant_id = ${tenantId} and id = ${id} and deleted_at is null
    returning ${columns}`)
  return row
}

export interface QrRow extends Pick<InstanceRow, 'enabled' | 'status' | 'reason'> {
  readonly sealed: Buffer | null
  readonly expiresAt: Date | null
  readonly sessionExpiresAt: Date | null
}

/** What there is to scan. `sealed` is null when nothing is on show, or the code on show is past its time. */
export async function findQr(db: Queryable, tenantId: TenantId, id: InstanceId): Promise<QrRow | undefined> {
  const [row] = await db.query<QrRow>(
    sql`
      select enabled, ${shownStatus} as status, reason,
        case when qr_expires_at > now() then qr_sealed end as sealed, qr_expires_at as "expiresAt",
        qr_session_expires_at as "sessionExpiresAt"
      from instance where tenant_id = ${tenantId} and id = ${id} and deleted_at is null`,
    'find_qr',
  )
  return row
}

export interface InstanceOwner {
  readonly replica: string | null
  readonly role: string | null
  readonly slot: number | null
  readonly epoch: bigint
  readonly acquiredAt: Date
}

/** The process that holds the instance; undefined when none does. Reads tables that have no tenant, so as the system. */
export async function findInstanceOwner(
  db: Queryable,
  tenantId: TenantId,
  id: InstanceId,
): Promise<InstanceOwner | undefined> {
  const [row] = await db.query<InstanceOwner>(sql`
    select p.replica, p.role, p.slot, l.epoch, l.acquired_at as "acquiredAt"
    from instance i
    join lease l on l.resource = 'instance:' || i.id and l.holder is not null
    left join process p on p.incarnation = l.holder
    where i.tenant_id = ${tenantId} and i.id = ${id}`)
  return row
}
