/** What is kept of a restriction: until when, and which chats it does not touch. */
import sql from 'sql-template-tag'
import type { ChatId, InstanceId, MessageId, TenantId } from '../../kernel/ids.js'
import type { Queryable, Tx } from '../../platform/database/database.js'
import { ownLeases } from '../../platform/leases/fence.js'
import type { Lease } from '../../platform/leases/lease.js'
import { addressFrom, phoneFromWaId, type WhatsAppAddress } from '../../platform/whatsapp/jid.js'
import { newestOf, phoneOf } from '../contacts/identity-store.js'

/** A person's token comes right behind their message, and with it nothing is refused: so long it is waited for. */
const TOKEN_WITHIN = sql`interval '3 seconds'`

/** Undefined when there is none, or it is over. */
export async function findRestriction(
  db: Queryable,
  tenantId: TenantId,
  instanceId: InstanceId,
): Promise<Date | undefined> {
  const [row] = await db.query<{ until: Date }>(sql`
    select restricted_until as until from instance
    where tenant_id = ${tenantId} and id = ${instanceId} and restricted_until > now()`)
  return row?.until
}

/** Under the fence. */
export async function saveRestriction(tx: Tx, tenantId: TenantId, instanceId: InstanceId, until: Date): Promise<void> {
  await tx.execute(sql`
    update instance set restricted_until = ${until}, updated_at = now()
    where tenant_id = ${tenantId} and id = ${instanceId}`)
}

/** Whether nobody has ever written to us in this chat, under any of the records that were merged into it. */
export async function isCold(db: Queryable, tenantId: TenantId, chatId: ChatId): Promise<boolean> {
  const rows = await db.query(
    sql`
      with living as (select coalesce(merged_into, id) as id from chat where tenant_id = ${tenantId} and id = ${chatId})
      select from message m
      where m.tenant_id = ${tenantId} and m.direction = 'inbound' and m.sender_id is not null
        and m.created_at < now() - ${TOKEN_WITHIN}
        and m.chat_id in (select id from living union all select c.id from chat c join living on c.merged_into = living.id)
      limit 1`,
    'is-cold',
  )
  return rows.length === 0
}

/**
 * Lanes whose held head is not cold any more are due: somebody has written to us there, since it was refused if it was.
 * @returns the chats.
 */
export async function releaseWarmed(
  db: Queryable,
  lease: Lease,
  instanceId: InstanceId,
  refused: ReadonlyMap<ChatId, MessageId>,
): Promise<ChatId[]> {
  const rows = await db.query<{ chatId: ChatId }>(
    sql`
      with own as materialized (${ownLeases([lease])}),
      warmed as materialized (
        select l.chat_id from chat_lane l join message m on m.chat_id = l.chat_id and m.chat_seq = l.head_seq
        left join unnest(${[...refused.keys()]}::uuid[], ${[...refused.values()]}::uuid[]) as r (chat_id, since)
          on r.chat_id = l.chat_id
        where l.instance_id = ${instanceId} and l.head_due_at > now() and m.hold_reason = 'restricted'
          and exists (select from own)
          and exists (select from message i where i.chat_id = l.chat_id and i.direction = 'inbound'
            and i.sender_id is not null and i.created_at < now() - ${TOKEN_WITHIN}
            and (r.since is null or i.id > r.since))
        order by l.chat_id for update of l
      )
      update chat_lane l set head_due_at = now() from warmed where l.chat_id = warmed.chat_id
      returning l.chat_id as "chatId"`,
    'release-warmed',
  )
  return rows.map(({ chatId }) => chatId)
}

/** Lanes whose head is held for one of these people are due. */
export async function releaseTrusted(
  db: Queryable,
  lease: Lease,
  held: { readonly tenantId: TenantId; readonly instanceId: InstanceId; readonly people: readonly WhatsAppAddress[] },
): Promise<void> {
  const { tenantId, instanceId, people } = held
  const lids = people.flatMap(({ lid }) => lid ?? [])
  const waIds = people.flatMap(({ waId }) => waId ?? [])
  await db.execute(sql`
    with own as materialized (${ownLeases([lease])}),
    person as materialized (
      select contact_id from contact_identity where tenant_id = ${tenantId}
        and ((kind = 'lid' and value = any (${lids})) or (kind = 'phone' and value = any (${waIds.map(phoneFromWaId)})))
    ),
    trusted as materialized (
      select l.chat_id from chat_lane l join message m on m.chat_id = l.chat_id and m.chat_seq = l.head_seq
      join chat own_chat on own_chat.id = l.chat_id
      join chat on chat.id = coalesce(own_chat.merged_into, own_chat.id)
      where l.instance_id = ${instanceId} and l.head_due_at > now() and m.hold_reason = 'restricted'
        and exists (select from own) and chat.contact_id in (select contact_id from person)
      order by l.chat_id for update of l
    )
    update chat_lane l set head_due_at = now() from trusted where l.chat_id = trusted.chat_id`)
}

/** Whom held heads are for. */
export async function findHeldPeople(
  db: Queryable,
  tenantId: TenantId,
  instanceId: InstanceId,
): Promise<WhatsAppAddress[]> {
  const rows = await db.query<{ phone: string | null; waId: string | null; lid: string | null }>(sql`
    select phone.value as phone, phone.wa_id as "waId", lid.value as lid
    from chat_lane l join message m on m.chat_id = l.chat_id and m.chat_seq = l.head_seq
    join chat own_chat on own_chat.id = l.chat_id
    join chat on chat.id = coalesce(own_chat.merged_into, own_chat.id)
    ${phoneOf(sql`chat.contact_id`)}
    ${newestOf('lid', sql`chat.contact_id`)}
    where l.tenant_id = ${tenantId} and l.instance_id = ${instanceId} and m.hold_reason = 'restricted'
      and l.head_due_at > now()`)
  return rows.map(addressFrom)
}
