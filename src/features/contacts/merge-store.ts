/** Joining two contacts that turned out to be one person. */
import sql, { type Sql } from 'sql-template-tag'
import type { ChatId, ContactId, TenantId } from '../../kernel/ids.js'
import type { Tx } from '../../platform/database/database.js'

export interface MergedChat {
  readonly from: ChatId
  readonly into: ChatId
}

/** Joins `loser` into `winner`: identities, names, chats and history. Lanes of the loser must be empty. */
export async function mergeContactRows(
  tx: Tx,
  tenantId: TenantId,
  pair: { readonly winner: ContactId; readonly loser: ContactId },
): Promise<MergedChat[]> {
  const { winner, loser } = pair
  await tx.execute(sql`
    update contact_identity set contact_id = ${winner} where tenant_id = ${tenantId} and contact_id = ${loser}`)
  await tx.execute(sql`
    update contact set merged_into = ${winner}, updated_at = now()
    where tenant_id = ${tenantId} and (id = ${loser} or merged_into = ${loser})`)
  await tx.execute(sql`
    update contact w set given_name = coalesce(w.given_name, l.given_name),
      saved_name = coalesce(w.saved_name, l.saved_name), push_name = coalesce(w.push_name, l.push_name), updated_at = now()
    from contact l
    where w.tenant_id = ${tenantId} and w.id = ${winner} and l.id = ${loser}`)
  const merged = await mergeChats(tx, tenantId, pair)
  await moveAuthorship(tx, tenantId, pair)
  return merged
}

async function mergeChats(
  tx: Tx,
  tenantId: TenantId,
  { winner, loser }: { readonly winner: ContactId; readonly loser: ContactId },
): Promise<MergedChat[]> {
  // A chat whose instance has none with the winner simply changes its person …
  await tx.execute(sql`
    update chat set contact_id = ${winner}
    where tenant_id = ${tenantId} and contact_id = ${loser} and merged_into is null
      and not exists (select from chat other
        where other.instance_id = chat.instance_id and other.contact_id = ${winner} and other.merged_into is null)`)
  // … the others hand their history to the winner's chat. A settled message needs no place in a lane any more.
  const merged = await tx.query<MergedChat>(sql`
    with pair as (
      update chat set merged_into = kept.id from chat kept
      where chat.tenant_id = ${tenantId} and chat.contact_id = ${loser} and chat.merged_into is null
        and kept.instance_id = chat.instance_id and kept.contact_id = ${winner} and kept.merged_into is null
      returning chat.id as old_id, kept.id as new_id
    ), moved as (
      update message set chat_id = pair.new_id, chat_seq = null
      from pair where message.chat_id = pair.old_id and message.tenant_id = ${tenantId} and not ${isDoubleOf(winner, sql`pair.new_id`)}
    ), former as (
      delete from chat_activity using pair where chat_id = pair.old_id
      returning pair.new_id, chat_activity.tenant_id, chat_activity.instance_id, chat_activity.last_message_id
    ), active as (
      insert into chat_activity as a (chat_id, tenant_id, instance_id, last_message_id) select * from former order by new_id
      on conflict (chat_id) do update set last_message_id = greatest(a.last_message_id, excluded.last_message_id)
    )
    select old_id as from, new_id as into from pair`)
  // Whoever follows `merged_into` takes one step only.
  await tx.execute(sql`
    update chat set merged_into = lost.merged_into from chat lost
    where lost.tenant_id = ${tenantId} and lost.contact_id = ${loser} and lost.merged_into is not null
      and chat.merged_into = lost.id`)
  return merged
}

/** Through the chats in which the loser can have written, by `message_inbound`: messages have no index of their senders. */
async function moveAuthorship(
  tx: Tx,
  tenantId: TenantId,
  { winner, loser }: { readonly winner: ContactId; readonly loser: ContactId },
): Promise<void> {
  await tx.execute(sql`
    with place as materialized (
      select id, instance_id from chat
      where tenant_id = ${tenantId} and (contact_id = ${winner} or contact_id = ${loser})
      union all
      select id, instance_id from chat where tenant_id = ${tenantId} and group_jid is not null
    ), written as materialized (
      select found.id from place cross join lateral (
        select id from message
        where instance_id = place.instance_id and chat_id = place.id and sender_id = ${loser} and direction = 'inbound'
        offset 0) found
    )
    update message set sender_id = ${winner}
    where id = any (array(select id from written)) and tenant_id = ${tenantId} and not ${isDoubleOf(winner, sql`message.chat_id`)}`)
}

/** The same incoming message was stored for both records: the winner's copy stays, the other keeps its old place. */
const isDoubleOf = (winner: ContactId, chatId: Sql) => sql`exists (
  select from message twin
  where twin.instance_id = message.instance_id and twin.chat_id = ${chatId} and twin.sender_id = ${winner}
    and twin.whatsapp_id = message.whatsapp_id and twin.direction = 'inbound' and twin.id <> message.id)`
