/** Claiming and settling the heads of lanes: the holder's side of sending. Every statement carries the lease's fence. */
import sql from 'sql-template-tag'
import type { ChatId, EventId, InstanceId, MediaId, MessageId, TenantId } from '../../kernel/ids.js'
import type { Queryable } from '../../platform/database/database.js'
import { ownLeases } from '../../platform/leases/fence.js'
import type { Fence, Lease, Resource } from '../../platform/leases/lease.js'
import type { OutboundContent } from '../../platform/whatsapp/content.js'
import { recordNewEvents } from '../events/record.js'
import { editedContent } from './edit-store.js'
import type { MessageStatus } from './message.js'
import { type ReferenceRow, referenceColumns, referenceJoins } from './reference-store.js'
import { recordBadEnds, recordClaims } from './step-store.js'

/** The head of a lane, in flight until it is settled. */
export interface ClaimedHead extends ReferenceRow {
  readonly chatId: ChatId
  readonly chatSeq: bigint
  readonly messageId: MessageId
  readonly tenantId: TenantId
  readonly status: MessageStatus
  readonly whatsappId: string
  readonly content: OutboundContent
  readonly attempts: number
  readonly strikes: number
  readonly createdAt: Date
  readonly firstTryAt: Date
  readonly phone: string | null
  readonly waId: string | null
  readonly lid: string | null
  readonly onWhatsApp: boolean | null
  readonly checkedAt: Date | null
  readonly groupJid: string | null
  readonly mediaId: MediaId | null
}

/**
 * Takes up to `limit` lanes whose head is due: marks their heads `sending` and the lanes in flight. One row per chat, so the
 * cost does not grow with the backlog. (`= any (array(…))` beside a join says the same again, so that the planner, which may
 * hold the table for small, reads it by its index and never whole; so in all statements here.) A head that is settled already (a receipt came first, or it was cancelled) is
 * returned with its status, to be passed over. An empty answer under a lost lease is the fence at work.
 *
 * The claim does not wait for the disk (`synchronous_commit` off for this one transaction): nothing acts on it before the
 * journal of the ratchet step is durable, and that commit comes later in the same log, so it carries this one. Lost in a crash
 * of PostgreSQL, the head is due again, as if it had never been claimed.
 */
export async function claimHeads(
  db: Queryable,
  lease: Lease,
  instanceId: InstanceId,
  limit: number,
): Promise<ClaimedHead[]> {
  return db.query<ClaimedHead>(
    sql`
      with own as materialized (${ownLeases([lease])}),
      unhurried as materialized (select set_config('synchronous_commit', 'off', true)),
      -- A constant limit: of one that it does not know the planner thinks that it takes a tenth of all lanes, finds the plan
      -- that it could keep too dear, and plans each claim anew. As many as are in flight at once; whoever holds the
      -- lock of a lane that is passed over wakes for it.
      soonest as materialized (
        select chat_id from chat_lane
        where instance_id = ${instanceId} and head_due_at <= now() and exists (select from own)
        order by head_due_at limit 32
      ), due as materialized (
        select chat_id, head_seq from chat_lane
        where chat_id = any (array(select chat_id from soonest)) and instance_id = ${instanceId} and head_due_at <= now()
          and exists (select from unhurried)
        order by head_due_at limit ${limit} for update skip locked
      ), head as materialized (
        select m.id, m.epoch, m.first_try_at from message m
        where m.id = any (array(
          -- The first of the lane from the head on, which is the head: only the lane's index has them in this order, so no
          -- plan can look for it among all messages of the chat.
          select next.id from due cross join lateral (
            select id, chat_seq from message where chat_id = due.chat_id and chat_seq >= due.head_seq
            order by chat_seq limit 1) next
          where next.chat_seq = due.head_seq))
        order by m.id for update of m
      ), claimed as (
        update message m set
          status = case when m.status = 'queued' then 'sending' else m.status end,
          -- What is settled is passed over: that is no try.
          attempts = m.attempts + (m.status in ('queued', 'sending'))::int,
          epoch = ${lease.epoch},
          hold_reason = null,
          first_try_at = coalesce(m.first_try_at, now())
        from head where m.id = head.id and m.id = any (array(select id from head))
        returning m.id, m.tenant_id, m.chat_id, m.chat_seq, m.status, m.whatsapp_id, m.content, m.attempts, m.strikes,
          m.created_at, m.first_try_at, m.context_id, m.secret, m.media_id
      ), in_flight as (
        update chat_lane l set head_due_at = null from claimed
        where l.chat_id = claimed.chat_id and l.chat_id = any (array(select chat_id from claimed))
      )
      ${recordClaims(lease)}
      select c.chat_id as "chatId", c.chat_seq as "chatSeq", c.id as "messageId", c.tenant_id as "tenantId", c.status,
        c.whatsapp_id as "whatsappId", c.content, c.attempts, c.strikes, c.created_at as "createdAt", c.first_try_at as "firstTryAt",
        phone.value as phone, phone.wa_id as "waId", lid.value as lid,
        phone.on_whatsapp as "onWhatsApp", phone.checked_at as "checkedAt", chat.group_jid as "groupJid",
        c.media_id as "mediaId", ${referenceColumns}
      from claimed c join chat own_chat on own_chat.id = c.chat_id
        and own_chat.id = any (array(select chat_id from claimed))
      -- What was accepted while its chat was merged waits in the old lane; the person is the merged chat's.
      left join lateral (select contact_id, group_jid from chat where id = own_chat.merged_into limit 1) merged on true
      cross join lateral (select
        case when own_chat.merged_into is null then own_chat.contact_id else merged.contact_id end as contact_id,
        case when own_chat.merged_into is null then own_chat.group_jid else merged.group_jid end as group_jid) chat
      left join lateral (select value, wa_id, on_whatsapp, checked_at from contact_identity
        where contact_id = chat.contact_id and kind = 'phone'
        order by on_whatsapp is true desc, since, value limit 1) phone on true
      left join lateral (select value from contact_identity
        where contact_id = chat.contact_id and kind = 'lid' order by since desc limit 1) lid on true
      ${referenceJoins}`,
    'claim-heads',
  )
}

/**
 * Messages of an instance that have their place in a lane and are not settled. Reads the lanes whole, which is why it is asked
 * seldom: an index that knew this would change with every message, and the updates of lanes are the hot path.
 */
export async function countWaiting(db: Queryable, tenantId: TenantId, instanceId: InstanceId): Promise<number> {
  const [row] = await db.query<{ waiting: number }>(sql`
    select coalesce(sum(next_seq - head_seq), 0)::float8 as waiting from chat_lane
    where tenant_id = ${tenantId} and instance_id = ${instanceId} and head_seq < next_seq`)
  return row?.waiting ?? 0
}

/** At the start of a lease nothing is in flight: heads that a predecessor left so are due again, under the same ids. */
export async function recoverLanes(db: Queryable, lease: Lease, instanceId: InstanceId): Promise<number> {
  return db.execute(sql`
    with own as materialized (${ownLeases([lease])}),
    stranded as materialized (
      select chat_id from chat_lane
      where instance_id = ${instanceId} and head_seq < next_seq and head_due_at is null and exists (select from own)
      order by chat_id for update
    )
    update chat_lane l set head_due_at = now() from stranded where l.chat_id = stranded.chat_id`)
}

/** What became of a head. */
export type Outcome =
  | { readonly to: 'sent'; readonly at: Date; readonly leftAt?: Date | undefined }
  | { readonly to: 'failed'; readonly code: string; readonly detail: string }
  | { readonly to: 'unknown'; readonly code: string }
  /** Surely not sent: back to `queued`, due again later. */
  | {
      readonly to: 'queued'
      readonly dueInMs: number
      readonly strike: boolean
      readonly code: string
      /** Why it waits, when nothing was wrong with it: the claim counts as none. */
      readonly hold?: 'restricted' | 'storage'
    }
  /** It may have left: stays `sending`, its lane waits, the same id is sent again. */
  | { readonly to: 'sending'; readonly dueInMs: number; readonly strike: boolean; readonly code: string }
  /** It was settled by somebody else (a receipt, a cancellation): the lane goes on. */
  | { readonly to: 'passed' }

export interface Settlement {
  readonly fence: Fence
  readonly instanceId: InstanceId
  readonly head: Pick<ClaimedHead, 'chatId' | 'chatSeq' | 'messageId' | 'tenantId'>
  readonly outcome: Outcome
  readonly eventId: EventId
}

/**
 * Settles heads of any number of instances in one fenced statement: statuses, lanes and events. Returns the resources that
 * are still ours; the settlements of the others were not written. Locks: leases, lanes by chat, messages by id, event counters.
 */
export async function settleHeads(db: Queryable, settlements: readonly Settlement[]): Promise<Set<Resource>> {
  const rows = await db.query<{ resource: Resource }>(settleStatement(settlements), 'settle-heads')
  return new Set(rows.map(({ resource }) => resource))
}

const settleStatement = (all: readonly Settlement[]) => sql`
  with own as materialized (${ownLeases(distinctFences(all))}),
  item as materialized (
    select i.* from unnest(
      ${all.map(({ fence }) => fence.resource)}::text[],
      ${all.map(({ instanceId }) => instanceId)}::uuid[],
      ${all.map(({ head }) => head.tenantId)}::uuid[],
      ${all.map(({ head }) => head.chatId)}::uuid[],
      ${all.map(({ head }) => head.chatSeq)}::bigint[],
      ${all.map(({ head }) => head.messageId)}::uuid[],
      ${all.map(({ outcome }) => outcome.to)}::text[],
      ${all.map(({ outcome }) => (outcome.to === 'sent' ? outcome.at : null))}::timestamptz[],
      ${all.map(({ outcome }) => ('dueInMs' in outcome ? outcome.dueInMs : null))}::float8[],
      ${all.map(({ outcome }) => ('code' in outcome ? outcome.code : null))}::text[],
      ${all.map(({ outcome }) => ('detail' in outcome ? outcome.detail : null))}::text[],
      ${all.map(({ outcome }) => ('strike' in outcome && outcome.strike ? 1 : 0))}::int[],
      ${all.map(({ eventId }) => eventId)}::uuid[],
      ${all.map(({ outcome }) => (outcome.to === 'sent' ? (outcome.leftAt ?? null) : null))}::timestamptz[],
      ${all.map(({ outcome }) => ('hold' in outcome ? (outcome.hold ?? null) : null))}::text[])
    with ordinality as i (resource, instance_id, tenant_id, chat_id, chat_seq, message_id, outcome, at, due_in_ms, code,
      detail, strike, event_id, left_at, hold, ord)
    join own using (resource)
  ), locked as materialized (
    select l.chat_id from chat_lane l join item using (chat_id)
    where l.chat_id = any (array(select chat_id from item)) order by l.chat_id for update of l
  ), target as materialized (
    -- In the order of their ids, as receipts lock them.
    select m.id from message m join item on item.message_id = m.id join locked on locked.chat_id = item.chat_id
    where m.id = any (array(select message_id from item)) order by m.id for update of m
  ), moved as (
    update message m set
      status = i.outcome::message_status,
      sent_at = case when i.outcome = 'sent' then greatest(i.at, m.created_at) else m.sent_at end,
      left_at = coalesce(i.left_at, m.left_at),
      failed_at = case when i.outcome = 'failed' then now() else m.failed_at end,
      strikes = m.strikes + i.strike,
      hold_reason = i.hold,
      attempts = m.attempts - (i.hold is not null)::int,
      first_try_at = case when i.hold is null then m.first_try_at end,
      error_code = i.code,
      error_detail = i.detail
    from item i join target on target.id = i.message_id
    where m.id = i.message_id and m.id = any (array(select id from target)) and i.outcome <> 'passed'
      and m.status in ('queued', 'sending', 'unknown')
      -- Written already, and only the answer was lost.
      and not (i.outcome = 'unknown' and m.status = 'unknown')
    returning m.id, m.status, m.type, m.context_id, m.content, m.attempts, m.epoch
  ), advanced as (
    update chat_lane l set
      head_seq = case when i.due_in_ms is null then l.head_seq + 1 else l.head_seq end,
      head_due_at = case
        when i.due_in_ms is not null then now() + make_interval(secs => i.due_in_ms / 1000)
        when l.head_seq + 1 < l.next_seq then now()
      end
    from item i join locked using (chat_id)
    where l.chat_id = i.chat_id and l.head_seq = i.chat_seq and l.chat_id = any (array(select chat_id from locked))
    returning l.chat_id
  ), changed as (
    -- An edit or a taking-back that has left changes its message, as it does for whoever sees it. Told by the lane, which
    -- moves on once: a receipt may have moved the message itself before.
    update message t set
      content = ${editedContent(sql`t`, sql`e.content #>> '{edit,text,body}'`)},
      edited_at = case when e.type = 'edit' then now() else t.edited_at end,
      deleted_at = case when e.type = 'delete' then now() else t.deleted_at end
    from item i join advanced using (chat_id) join message e on e.id = i.message_id
    where t.id = e.context_id and e.type in ('edit', 'delete') and e.id = any (array(select message_id from item))
      and (i.outcome = 'sent' or (i.outcome = 'passed' and e.status in ('sent', 'delivered', 'read', 'played')))
    returning t.id, e.id as by_id, e.type
  ), new_event as (
    select i.event_id as id, i.tenant_id,
      case when changed.type = 'edit' then 'message.edited' when changed.type = 'delete' then 'message.deleted'
        else 'message.' || i.outcome end as type,
      i.instance_id, coalesce(changed.id, i.message_id) as subject_id,
      jsonb_strip_nulls(jsonb_build_object('status', i.outcome, 'at', i.at, 'errorCode', i.code)) as data, i.ord
    from item i left join moved on moved.id = i.message_id left join changed on changed.by_id = i.message_id
    where changed.id is not null or (moved.id is not null and i.outcome in ('sent', 'failed', 'unknown'))
  )
  ${recordBadEnds}
  ${recordNewEvents}
  select resource from own`

function distinctFences(all: readonly Settlement[]): Fence[] {
  return [...new Map(all.map(({ fence }) => [fence.resource, fence])).values()]
}
