/** Taking messages back and sending them again. Locks, as everywhere: lanes by chat, then the message, then event counters. */
import sql, { type Sql } from 'sql-template-tag'
import type { ChatId, InstanceId, MessageId, TenantId } from '../../kernel/ids.js'
import type { Queryable, Tx } from '../../platform/database/database.js'
import type { MessageStatus } from './message.js'

export interface MessagePlace {
  readonly chatId: ChatId
  /** Where a message to this chat would be put today. */
  readonly laneId: ChatId
}

/** Where a message stands. Undefined: no such message. */
export async function findPlace(
  db: Queryable,
  tenantId: TenantId,
  messageId: MessageId,
): Promise<MessagePlace | undefined> {
  const [row] = await db.query<MessagePlace>(sql`
    select m.chat_id as "chatId", coalesce(chat.merged_into, chat.id) as "laneId"
    from message m join chat on chat.id = m.chat_id
    where m.tenant_id = ${tenantId} and m.id = ${messageId}`)
  return row
}

/**
 * Locks lanes: from here on no claim takes their heads, and what a claim has taken is to be seen by the next statement (a
 * statement of its own, since a sub-select beside a lock would see what was before it).
 */
export async function lockLanesOf(tx: Tx, tenantId: TenantId, chatIds: readonly ChatId[]): Promise<void> {
  await tx.execute(sql`
    select from chat_lane where tenant_id = ${tenantId} and chat_id = any (${chatIds}::uuid[])
    order by chat_id for update`)
}

/** What decides whether a message may be taken back or sent again. */
export interface ChangeableMessage {
  readonly chatId: ChatId
  readonly instanceId: InstanceId
  readonly direction: 'outbound' | 'inbound'
  readonly whatsappId: string
  readonly status: MessageStatus
  readonly attempts: number
  /** Tries that surely did not reach WhatsApp. */
  readonly surelyNotSent: number
  /** A person asked for it to be sent again since its last try. */
  readonly isResend: boolean
  /** Its place in the lane is behind the lane's head: nothing of it is in flight. */
  readonly isPassed: boolean
  readonly instance: 'enabled' | 'disabled' | 'deleted'
}

/** Locks the message. */
export async function lockMessage(
  tx: Tx,
  tenantId: TenantId,
  messageId: MessageId,
): Promise<ChangeableMessage | undefined> {
  const [row] = await tx.query<ChangeableMessage>(sql`
    select m.chat_id as "chatId", m.instance_id as "instanceId", m.direction, m.whatsapp_id as "whatsappId", m.status,
      m.attempts,
      (select count(distinct attempt)::int from message_step s
        where s.message_id = m.id and s.step in ('not_sent', 'failed')) as "surelyNotSent",
      exists (select from message_step s
        where s.message_id = m.id and s.step = 'resend' and s.attempt = m.attempts) as "isResend",
      m.chat_seq is null or coalesce(lane.head_seq > m.chat_seq, true) as "isPassed",
      case when instance.deleted_at is not null then 'deleted' when instance.enabled then 'enabled' else 'disabled' end
        as instance
    from message m join instance on instance.id = m.instance_id left join chat_lane lane on lane.chat_id = m.chat_id
    where m.tenant_id = ${tenantId} and m.id = ${messageId} for update of m`)
  return row
}

/** Takes a message back that was never claimed; its lane, which must be locked, goes on without it. */
export async function cancelMessage(tx: Tx, tenantId: TenantId, messageId: MessageId): Promise<void> {
  await tx.execute(sql`
    with cancelled as (
      update message set status = 'cancelled', hold_reason = null, due_at = null, error_code = null, error_detail = null
      where tenant_id = ${tenantId} and id = ${messageId} and status = 'queued'
      returning chat_id, chat_seq
    )
    update chat_lane l set
      head_seq = l.head_seq + 1,
      head_due_at = case when l.head_seq + 1 < l.next_seq then now() end
    from cancelled where l.chat_id = cancelled.chat_id and l.head_seq = cancelled.chat_seq`)
}

/** A settled message waits again, and nothing of its last try counts any more. */
const queuedAfresh: Sql = sql`
  status = 'queued', strikes = 0, first_try_at = null, failed_at = null, left_at = null, error_code = null,
  error_detail = null, due_at = null`

/** Puts a settled message at the end of a lane, which must be locked, under the WhatsApp id that it has. */
export async function requeueMessage(
  tx: Tx,
  tenantId: TenantId,
  { messageId, laneId }: { readonly messageId: MessageId; readonly laneId: ChatId },
): Promise<void> {
  await tx.execute(sql`
    with lane as (
      update chat_lane l set
        next_seq = l.next_seq + 1,
        head_due_at = case when l.head_seq = l.next_seq then now() else l.head_due_at end
      where l.tenant_id = ${tenantId} and l.chat_id = ${laneId}
      returning l.chat_id, l.next_seq - 1 as seq
    )
    update message m set ${queuedAfresh}, chat_id = lane.chat_id, chat_seq = lane.seq, hold_reason = null
    from lane where m.tenant_id = ${tenantId} and m.id = ${messageId}`)
}

/** Holds a settled message whose file could not be fetched, and has it fetched again. False: that is not what it lacks. */
export async function awaitFileAgain(tx: Tx, tenantId: TenantId, messageId: MessageId): Promise<boolean> {
  const touched = await tx.execute(sql`
    with again as (
      update media set state = 'pending', error_code = null
      where tenant_id = ${tenantId} and message_id = ${messageId} and direction = 'outbound' and state = 'failed'
      returning id
    ), fetching as (
      insert into job (id, tenant_id, kind, subject_id) select uuid_v7(), ${tenantId}, 'fetch-media', id from again
    )
    update message set ${queuedAfresh}, chat_seq = null, hold_reason = 'media'
    where tenant_id = ${tenantId} and id = ${messageId} and exists (select from again)`)
  return touched === 1
}

/** Tells whoever holds the number: a claim that came while the lane was locked has passed it over. */
export async function ringInstance(tx: Tx, instanceId: InstanceId): Promise<void> {
  await tx.execute(sql`select pg_notify('mirante_outbound', ${instanceId})`)
}
