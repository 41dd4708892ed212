/**
 * Applying receipts: statuses only move forward, and a receipt that came before its message waits for it in `early_receipt`.
 * There the journal keeps each receipt from before it is acknowledged until it is applied.
 */
import sql, { empty, type Sql } from 'sql-template-tag'
import type { EventId, InstanceId, TenantId } from '../../kernel/ids.js'
import type { Queryable } from '../../platform/database/database.js'
import { ownLeases } from '../../platform/leases/fence.js'
import type { Fence } from '../../platform/leases/lease.js'
import { recordNewEvents } from '../events/record.js'
import type { ReceiptStatus } from './message.js'

export interface ReceiptItem {
  readonly tenantId: TenantId
  readonly instanceId: InstanceId
  readonly whatsappId: string
  readonly status: ReceiptStatus
  readonly at: Date
  readonly errorCode: string | null
  readonly eventId: EventId
}

/**
 * Applies receipts of one session, in order. A message that several of them speak of moves to the furthest and gets an
 * event for each step forward. Receipts of messages that are not stored yet stay in `early_receipt`, or are put there.
 * `fence` null: for the sweep, which acts for no connection.
 * @returns false when the lease is lost; then nothing was written.
 */
export async function applyReceipts(
  db: Queryable,
  fence: Fence | null,
  items: readonly ReceiptItem[],
): Promise<boolean> {
  const own = fence ? ownLeases([fence]) : sql`select 'the sweep'::text as resource`
  const rows = await db.query(
    sql`
      with own as materialized (${own}),
      item as materialized (
        select i.* from unnest(
          ${items.map((item) => item.tenantId)}::uuid[],
          ${items.map((item) => item.instanceId)}::uuid[],
          ${items.map((item) => item.whatsappId)}::text[],
          ${items.map((item) => item.status)}::message_status[],
          ${items.map((item) => item.at)}::timestamptz[],
          ${items.map((item) => item.errorCode)}::text[],
          ${items.map((item) => item.eventId)}::uuid[])
        with ordinality as i (tenant_id, instance_id, whatsapp_id, status, at, error_code, event_id, ord)
        where exists (select from own)
      ), target as materialized (
        select m.id, m.instance_id, m.whatsapp_id, m.status from message m
        -- Arrays and not a join: planned while the table is small, a join reads all of it, and the plan is kept.
        where m.direction = 'outbound' and m.instance_id = any (array(select distinct instance_id from item))
          and m.whatsapp_id = any (array(select whatsapp_id from item))
        order by m.id for update of m
      ), step as materialized (
        select distinct on (target.id, item.status) target.id as message_id, item.*
        from item join target using (instance_id, whatsapp_id)
        where target.status not in ('failed', 'cancelled')
          and case item.status when 'failed' then target.status < 'sent' else target.status < item.status end
        order by target.id, item.status, item.ord
      ), moved as (
        update message m set
          status = s.status,
          sent_at = coalesce(m.sent_at, ${notBeforeAccept(sql`s.sent_at`)}),
          delivered_at = coalesce(m.delivered_at, ${notBeforeAccept(sql`s.delivered_at`)}),
          read_at = coalesce(m.read_at, ${notBeforeAccept(sql`s.read_at`)}),
          played_at = coalesce(m.played_at, ${notBeforeAccept(sql`s.played_at`)}),
          failed_at = coalesce(m.failed_at, ${notBeforeAccept(sql`s.failed_at`)}),
          error_code = coalesce(s.error_code, case when s.status = 'failed' then m.error_code end)
        from (
          select message_id, max(status) as status, max(error_code) as error_code,
            min(at) filter (where status = 'sent') as sent_at,
            min(at) filter (where status = 'delivered') as delivered_at,
            min(at) filter (where status = 'read') as read_at,
            min(at) filter (where status = 'played') as played_at,
            min(at) filter (where status = 'failed') as failed_at
          from step group by message_id
        ) s where m.id = s.message_id and m.id = any (array(select message_id from step))
        returning m.id
      ), early as (
        insert into early_receipt (instance_id, tenant_id, whatsapp_id, status, at, error_code)
        select distinct on (instance_id, whatsapp_id, status) instance_id, tenant_id, whatsapp_id, status, at, error_code
        from item
        where not exists (select from target t
          where t.instance_id = item.instance_id and t.whatsapp_id = item.whatsapp_id)
        on conflict (instance_id, whatsapp_id, status, member) do nothing
      ), applied as (
        delete from early_receipt e
        where e.instance_id = any (array(select distinct instance_id from target))
          and e.whatsapp_id = any (array(select whatsapp_id from target))
          and e.member = ''
          and exists (select from item join target using (instance_id, whatsapp_id)
            where item.instance_id = e.instance_id and item.whatsapp_id = e.whatsapp_id and item.status = e.status)
      ), new_event as (
        select step.event_id as id, step.tenant_id, 'message.' || step.status as type, step.instance_id,
          step.message_id as subject_id,
          jsonb_strip_nulls(jsonb_build_object('status', step.status, 'at', step.at, 'errorCode', step.error_code))
            as data,
          step.ord
        from step join moved on moved.id = step.message_id
      )
      ${recordNewEvents}
      select from own`,
    fence ? 'apply-receipts' : 'apply-early-receipts',
  )
  return rows.length > 0
}

/** WhatsApp's times are whole seconds: cut off, they would lie before the moment at which the message was accepted. */
const notBeforeAccept = (time: Sql): Sql => sql`case when ${time} < m.created_at then m.created_at else ${time} end`

/** `member`: of a group; '' for any other. */
export type EarlyReceipt = Omit<ReceiptItem, 'eventId'> & { readonly member: string; readonly alias: string | null }

/** Takes the receipts that came before these messages were stored. */
export async function takeEarlyReceipts(
  db: Queryable,
  instanceId: InstanceId,
  whatsappIds: readonly string[],
): Promise<EarlyReceipt[]> {
  return db.query(
    sql`
      delete from early_receipt where instance_id = ${instanceId} and whatsapp_id = any (${whatsappIds}::text[])
      returning tenant_id as "tenantId", instance_id as "instanceId", whatsapp_id as "whatsappId", status, at,
        error_code as "errorCode", member, alias`,
    'take-early-receipts',
  )
}

export interface KeptReceiptFilter {
  readonly olderThanMs: number
  /** Default: of all instances. */
  readonly instanceId?: InstanceId
  readonly limit: number
}

/** Receipts of messages that are stored, which nobody applied, of all tenants. The oldest first. */
export async function unappliedReceipts(
  db: Queryable,
  { olderThanMs, instanceId, limit }: KeptReceiptFilter,
): Promise<EarlyReceipt[]> {
  return db.query(sql`
    select e.tenant_id as "tenantId", e.instance_id as "instanceId", e.whatsapp_id as "whatsappId", e.status, e.at,
      e.error_code as "errorCode", e.member, e.alias
    from early_receipt e join message m
      on m.instance_id = e.instance_id and m.whatsapp_id = e.whatsapp_id and m.direction = 'outbound'
    where e.received_at <= now() - make_interval(secs => ${olderThanMs / 1000}::float8)
      ${instanceId ? sql`and e.instance_id = ${instanceId}` : empty}
    order by e.received_at, e.status limit ${limit}`)
}

/** Forgets receipts whose message never came, of all tenants. @returns how many went. */
export async function purgeEarlyReceipts(db: Queryable, olderThanDays: number): Promise<number> {
  return db.execute(sql`
    delete from early_receipt where received_at < now() - make_interval(days => ${olderThanDays})`)
}
