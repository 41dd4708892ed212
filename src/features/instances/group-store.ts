/** What groups are called, kept with their chats. */
import sql from 'sql-template-tag'
import type { ChatId } from '../../kernel/ids.js'
import type { Queryable } from '../../platform/database/database.js'
import type { InstanceRef } from './instance.js'

/** Keeps the subjects, making the chats that are not there. */
export async function saveSubjects(
  db: Queryable,
  { tenantId, instanceId }: InstanceRef,
  groups: readonly { readonly chatId: ChatId; readonly jid: string; readonly subject: string }[],
): Promise<void> {
  if (groups.length === 0) return
  await db.execute(sql`
    with given as (
      select * from unnest(
        ${groups.map(({ chatId }) => chatId)}::uuid[], ${groups.map(({ jid }) => jid)}::text[],
        ${groups.map(({ subject }) => subject)}::text[]) as g (chat_id, jid, subject)
    ), known as (
      insert into chat (id, tenant_id, instance_id, group_jid, subject)
      select chat_id, ${tenantId}, ${instanceId}, jid, subject from given order by jid
      on conflict (instance_id, group_jid) where group_jid is not null
      do update set subject = excluded.subject where chat.subject is distinct from excluded.subject
      returning id
    )
    insert into chat_lane (chat_id, tenant_id, instance_id)
    select id, ${tenantId}, ${instanceId} from known on conflict (chat_id) do nothing`)
}
