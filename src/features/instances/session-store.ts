/** What the holder of an instance reads and writes. Every write carries the fence. */
import sql from 'sql-template-tag'
import type { CommandId, InstanceId } from '../../kernel/ids.js'
import type { Queryable, Tx } from '../../platform/database/database.js'
import { ownLeases } from '../../platform/leases/fence.js'
import type { Fence, Resource } from '../../platform/leases/lease.js'
import type { CloseReason } from '../../platform/whatsapp/close-reason.js'
import type { NewEvent } from '../events/event.js'
import { newEventRows, recordNewEvents } from '../events/record.js'
import type { CommandKind } from './command-store.js'
import type { CommandArgs, CommandResult } from './errand.js'
import type { ConnectionStatus, InstanceRef, InstanceState, StatusReason } from './instance.js'

/** What a session keeps of its instance's row; in its memory it is the truth, and written whole. */
export interface InstanceRecord {
  readonly state: InstanceState
  /** E.164 of the number that is linked; null before pairing and after a log-out. */
  readonly phone: string | null
  readonly lid: string | null
  readonly pushName: string | null
  readonly pictureUrl: string | null
  readonly qr: SealedQr | null
  readonly reconnectAttempt: number
  readonly reconnectAt: Date | null
  readonly lastCloseReason: CloseReason | null
}

export interface SealedQr {
  readonly sealed: Buffer
  readonly expiresAt: Date
  readonly sessionExpiresAt: Date
}

export interface HeldInstance extends InstanceRef {
  readonly name: string
  readonly provider: string
  readonly enabled: boolean
  readonly deleted: boolean
  readonly purged: boolean
  readonly record: InstanceRecord
}

interface HeldInstanceRow extends InstanceRef {
  readonly name: string
  readonly provider: string
  readonly enabled: boolean
  readonly deleted: boolean
  readonly purged: boolean
  readonly status: ConnectionStatus
  readonly reason: StatusReason | null
  readonly since: Date
  readonly phone: string | null
  readonly lid: string | null
  readonly pushName: string | null
  readonly pictureUrl: string | null
  readonly reconnectAttempt: number
  readonly lastCloseReason: CloseReason | null
}

/** The instance of a lease. The id comes from the lease's resource, so no tenant is known yet. */
export async function findHeldInstance(db: Queryable, instanceId: InstanceId): Promise<HeldInstance | undefined> {
  const [row] = await db.query<HeldInstanceRow>(
    sql`
      select id as "instanceId", tenant_id as "tenantId", name, provider, enabled, deleted_at is not null as deleted,
        purged_at is not null as purged, connection_status as status, reason, status_since as since, phone, lid,
        push_name as "pushName", picture_url as "pictureUrl", reconnect_attempt as "reconnectAttempt", last_close_reason as "lastCloseReason"
      from instance where id = ${instanceId}`,
    'find_held_instance',
  )
  if (!row) return undefined
  const { status, reason, since, phone, lid, pushName, pictureUrl, reconnectAttempt, lastCloseReason, ...instance } =
    row
  // A QR of an earlier holder's connection is worth nothing.
  const record = { phone, lid, pushName, pictureUrl, reconnectAttempt, lastCloseReason, qr: null, reconnectAt: null }
  return { ...instance, record: { state: { status, reason, since }, ...record } }
}

export type Saved = 'saved' | 'fenced' | 'not_wanted'

/**
 * Writes the record and its events in one statement. `not_wanted`: the owner disabled or deleted the instance meanwhile;
 * that word stands, and nothing was written.
 */
export async function saveRecord(
  db: Queryable,
  fence: Fence,
  { tenantId, instanceId }: InstanceRef,
  record: InstanceRecord,
  events: readonly NewEvent[],
): Promise<Saved> {
  const { state, phone, lid, pushName, pictureUrl, qr, reconnectAttempt, reconnectAt, lastCloseReason } = record
  const [row] = await db.query<{ own: boolean; saved: boolean }>(
    sql`
      with own as materialized (${ownLeases([fence])}),
      saved as (
        update instance set
          connection_status = ${state.status}, reason = ${state.reason}, status_since = ${state.since},
          phone = ${phone}, lid = ${lid}, push_name = ${pushName}, picture_url = ${pictureUrl},
          qr_sealed = ${qr?.sealed ?? null}, qr_expires_at = ${qr?.expiresAt ?? null},
          qr_session_expires_at = ${qr?.sessionExpiresAt ?? null},
          reconnect_attempt = ${reconnectAttempt}, reconnect_at = ${reconnectAt}, last_close_reason = ${lastCloseReason},
          last_seen_at = case when ${state.status === 'CONNECTED'} then now() else last_seen_at end,
          updated_at = now()
        where id = ${instanceId} and tenant_id = ${tenantId} and enabled and deleted_at is null
          and exists (select from own)
        returning id
      ), new_event as (
        select e.* from (${newEventRows(events)}) e where exists (select from saved)
      )
      ${recordNewEvents}
      select exists (select from own) as own, exists (select from saved) as saved`,
    'save_instance_record',
  )
  if (!row?.own) return 'fenced'
  return row.saved ? 'saved' : 'not_wanted'
}

/** Instances that live on this process showed signs of life: one statement for all of them. */
export async function touchLastSeen(
  db: Queryable,
  seen: readonly { readonly fence: Fence; readonly instanceId: InstanceId }[],
): Promise<void> {
  await db.execute(
    sql`
      with own as materialized (${ownLeases(seen.map(({ fence }) => fence))})
      update instance set last_seen_at = now()
      from unnest(
        ${seen.map(({ fence }) => fence.resource)}::text[],
        ${seen.map(({ instanceId }) => instanceId)}::uuid[]) as s (resource, instance_id)
      join own using (resource)
      where instance.id = s.instance_id`,
    'touch_last_seen',
  )
}

/** Whether the lease row still carries this epoch and token. */
export async function isStillOurs(db: Queryable, { resource, epoch, token }: Fence): Promise<boolean> {
  const rows = await db.query(sql`
    select from lease where resource = ${resource} and epoch = ${epoch} and token = ${token}`)
  return rows.length > 0
}

/** Instances that somebody should hold: those enabled, and those deleted whose secrets are not purged yet. */
export async function findWantedResources(db: Queryable): Promise<Resource[]> {
  const rows = await db.query<{ resource: Resource }>(
    sql`
      select 'instance:' || id as resource from instance where enabled and deleted_at is null
      union all
      select 'instance:' || id from instance where deleted_at is not null and purged_at is null`,
    'find_wanted_instances',
  )
  return rows.map(({ resource }) => resource)
}

/** Which of these instances their holder should look at: a command waits, or the owner does not want them to run. */
export async function findNeglected(db: Queryable, instanceIds: readonly InstanceId[]): Promise<InstanceId[]> {
  const rows = await db.query<{ id: InstanceId }>(
    sql`
      select id from instance where id = any (${instanceIds}::uuid[]) and (not enabled or deleted_at is not null)
      union
      select instance_id from instance_command
      where instance_id = any (${instanceIds}::uuid[]) and status = 'pending' and expires_at > now()`,
    'find_neglected_instances',
  )
  return rows.map(({ id }) => id)
}

/** In the transaction that purged the secrets. */
export async function markPurged(tx: Tx, { tenantId, instanceId }: InstanceRef): Promise<void> {
  await tx.execute(sql`
    update instance set purged_at = now(), qr_sealed = null, qr_expires_at = null, qr_session_expires_at = null,
      updated_at = now()
    where id = ${instanceId} and tenant_id = ${tenantId}`)
}

export interface ClaimedCommand {
  readonly commandId: CommandId
  readonly kind: CommandKind
  readonly args: CommandArgs
}

/** Takes the commands that wait for this instance and have not expired, the oldest first. */
export async function claimCommands(
  db: Queryable,
  fence: Fence,
  { tenantId, instanceId }: InstanceRef,
): Promise<ClaimedCommand[]> {
  return db.query<ClaimedCommand>(
    sql`
      with own as materialized (${ownLeases([fence])}),
      claimed as (
        update instance_command set status = 'running'
        where tenant_id = ${tenantId} and instance_id = ${instanceId} and status = 'pending' and expires_at > now()
          and exists (select from own)
        returning id, kind, args
      )
      select id as "commandId", kind, args from claimed order by id`,
    'claim_commands',
  )
}

/** Answers a command, unless its deadline has answered it already. */
export async function settleCommand(
  db: Queryable,
  fence: Fence,
  { tenantId }: InstanceRef,
  commandId: CommandId,
  answer: { readonly status: 'done' | 'failed'; readonly result: CommandResult },
): Promise<void> {
  await db.execute(sql`
    with own as materialized (${ownLeases([fence])})
    update instance_command set status = ${answer.status}, result = ${JSON.stringify(answer.result)}::jsonb
    where id = ${commandId} and tenant_id = ${tenantId} and status = 'running' and exists (select from own)`)
}
