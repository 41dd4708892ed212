/** Chats and their lanes, made together with the contact they need. */
import sql from 'sql-template-tag'
import type { ChatId, ContactId, InstanceId, TenantId } from '../../kernel/ids.js'
import type { Queryable, Tx } from '../../platform/database/database.js'
import { shortestSpelling } from './phone-alias.js'
import type { Identity } from './recipient.js'

export interface PersonRow {
  readonly chatId: ChatId | null
  readonly contactId: ContactId
}

export interface ChatRow extends PersonRow {
  readonly chatId: ChatId
  readonly contactId: ContactId
}

export interface WantedChat {
  readonly tenantId: TenantId
  /** Null: the contact alone, without a chat. */
  readonly instanceId: InstanceId | null
  readonly identity: Identity
  /** For the contact and the chat, where there is none yet. */
  readonly newContactId: ContactId
  readonly newChatId: ChatId
}

/**
 * The chats of instances with whom identities name, in their order: found, or made with contact, identity and lane, all in
 * one statement and without any lock but those of the rows it makes. Of writers who make the same person at the same time
 * one makes it and the others wait for its row: that of the number's shortest spelling, which every contact with a phone
 * has. Locks, in this order: shortest spellings, identities, chats, each sorted.
 */
export async function findOrMakeChats(db: Queryable, wanted: readonly WantedChat[]): Promise<PersonRow[]> {
  return db.query<PersonRow>(
    sql`
      with item as materialized (
        select * from unnest(
          ${wanted.map(({ tenantId }) => tenantId)}::uuid[],
          ${wanted.map(({ instanceId }) => instanceId)}::uuid[],
          ${wanted.map(({ identity }) => identity.kind)}::text[],
          ${wanted.map(({ identity }) => identity.value)}::text[],
          ${wanted.map(({ identity }) => rootOf(identity))}::text[],
          ${wanted.map(({ newContactId }) => newContactId)}::uuid[],
          ${wanted.map(({ newChatId }) => newChatId)}::uuid[])
        with ordinality as i (tenant_id, instance_id, kind, value, root, new_contact_id, new_chat_id, ord)
      ), known as materialized (
        select item.*, found.contact_id, chat.id as chat_id
        from item
        left join lateral (select contact_id from contact_identity i
          where i.tenant_id = item.tenant_id and i.kind = item.kind and i.value = item.value limit 1) found on true
        left join lateral (select id from chat
          where chat.instance_id = item.instance_id and chat.contact_id = found.contact_id
            and chat.merged_into is null limit 1) chat on true
      ), rooted as (
        insert into contact_identity (tenant_id, kind, value, contact_id, since)
        select * from (
          select distinct on (tenant_id, kind, root) tenant_id, kind, root, coalesce(contact_id, new_contact_id),
            -- Views show the first phone of a contact: the one that was asked for.
            now() + case when root = value then interval '0' else interval '1 microsecond' end
          from known where chat_id is null
          order by tenant_id, kind, root, contact_id is null, ord
        ) root
        on conflict (tenant_id, kind, value)
        do update set contact_id = coalesce(contact_identity.contact_id, excluded.contact_id)
        returning tenant_id, kind, value as root, contact_id
      ), made_contact as (
        insert into contact (id, tenant_id)
        select rooted.contact_id, rooted.tenant_id from rooted join item on item.new_contact_id = rooted.contact_id
      ), spelled as (
        insert into contact_identity (tenant_id, kind, value, contact_id)
        select * from (
          select distinct on (k.tenant_id, k.kind, k.value) k.tenant_id, k.kind, k.value, rooted.contact_id
          from known k join rooted using (tenant_id, kind, root)
          where k.chat_id is null and k.value <> k.root
          order by k.tenant_id, k.kind, k.value
        ) spelling
        on conflict (tenant_id, kind, value)
        do update set contact_id = coalesce(contact_identity.contact_id, excluded.contact_id)
        returning tenant_id, kind, value, contact_id
      ), placed as materialized (
        select k.ord, k.tenant_id, k.instance_id, k.new_chat_id, k.chat_id,
          coalesce(spelled.contact_id, rooted.contact_id, k.contact_id) as contact_id
        from known k
        left join rooted on k.chat_id is null and rooted.tenant_id = k.tenant_id and rooted.kind = k.kind
          and rooted.root = k.root
        left join spelled on k.chat_id is null and spelled.tenant_id = k.tenant_id and spelled.kind = k.kind
          and spelled.value = k.value
      ), opened as (
        insert into chat (id, tenant_id, instance_id, contact_id)
        select * from (
          select distinct on (instance_id, contact_id) new_chat_id, tenant_id, instance_id, contact_id
          from placed where chat_id is null and instance_id is not null
          order by instance_id, contact_id, ord
        ) chat
        on conflict (instance_id, contact_id) where contact_id is not null and merged_into is null
        do update set contact_id = excluded.contact_id
        returning id, tenant_id, instance_id, contact_id
      ), made_lane as (
        insert into chat_lane (chat_id, tenant_id, instance_id)
        select opened.id, opened.tenant_id, opened.instance_id from opened join item on item.new_chat_id = opened.id
      )
      select coalesce(placed.chat_id, opened.id) as "chatId", placed.contact_id as "contactId"
      from placed
      left join opened on placed.chat_id is null and opened.instance_id = placed.instance_id
        and opened.contact_id = placed.contact_id
      order by placed.ord`,
    'find-or-make-chats',
  )
}

const rootOf = ({ kind, value }: Identity): string => (kind === 'phone' ? shortestSpelling(value) : value)

/** The chat of a group, with its empty lane; made if there is none. */
export async function ensureGroupChat(
  tx: Tx,
  tenantId: TenantId,
  chat: { readonly chatId: ChatId; readonly instanceId: InstanceId; readonly groupJid: string },
): Promise<ChatId> {
  const { chatId, instanceId, groupJid } = chat
  await tx.execute(sql`
    with made as (
      insert into chat (id, tenant_id, instance_id, group_jid) values (${chatId}, ${tenantId}, ${instanceId}, ${groupJid})
      on conflict (instance_id, group_jid) where group_jid is not null do nothing
      returning id)
    insert into chat_lane (chat_id, tenant_id, instance_id)
    select id, ${tenantId}::uuid, ${instanceId}::uuid from made`)
  const [row] = await tx.query<{ id: ChatId }>(sql`
    select id from chat where tenant_id = ${tenantId} and instance_id = ${instanceId} and group_jid = ${groupJid}`)
  if (!row) throw new Error('the chat vanished while it was being made')
  return row.id
}

/** Locks the lanes of a contact's chats and tells whether any has messages that are not settled. */
export async function hasUnsettledMessages(tx: Tx, tenantId: TenantId, contactId: ContactId): Promise<boolean> {
  const rows = await tx.query<{ busy: boolean }>(sql`
    select lane.head_seq < lane.next_seq as busy
    from chat_lane lane join chat on chat.id = lane.chat_id
    where chat.tenant_id = ${tenantId} and chat.contact_id = ${contactId}
    order by lane.chat_id for update of lane`)
  return rows.some(({ busy }) => busy)
}
