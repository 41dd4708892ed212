/** What is kept of a restriction: until when, and which chats it does not touch. */
import sql from 'sql-template-tag'
import type { ChatId, InstanceId, TenantId } from '../../kernel/ids.js'
import type { Queryable, Tx } from '../../platform/database/database.js'
import { ownLeases } from '../../platform/leases/fence.js'
import type { Lease } from '../../platform/leases/lease.js'

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
        and m.chat_id in (select id from living union all select c.id from chat c join living on c.merged_into = living.id)
      limit 1`,
    'is-cold',
  )
  return rows.length === 0
}

/** Lanes whose held head is not cold any more are due. */
export async function releaseWarmed(db: Queryable, lease: Lease, instanceId: InstanceId): Promise<void> {
  await db.execute(sql`
    with own as materialized (${ownLeases([lease])}),
    warmed as materialized (
      select l.chat_id from chat_lane l join message m on m.chat_id = l.chat_id and m.chat_seq = l.head_seq
      where l.instance_id = ${instanceId} and l.head_due_at > now() and m.hold_reason = 'restricted'
        and exists (select from own)
        and exists (select from message i where i.chat_id = l.chat_id and i.direction = 'inbound'
          and i.sender_id is not null)
      order by l.chat_id for update of l
    )
    update chat_lane l set head_due_at = now() from warmed where l.chat_id = warmed.chat_id`)
}
