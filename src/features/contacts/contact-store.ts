/** Contacts: their names and what is shown of them. */
import sql, { empty, join, type Sql } from 'sql-template-tag'
import type { ChatId, ContactId, InstanceId, TenantId } from '../../kernel/ids.js'
import type { Queryable, Tx } from '../../platform/database/database.js'
import { newestOf, phoneOf } from './identity-store.js'
import type { IdentityKind } from './recipient.js'
import { survivorOf } from './survivor-store.js'

export interface ContactRow {
  readonly id: ContactId
  readonly name: string | null
  readonly phone: string | null
  readonly waId: string | null
  readonly lid: string | null
  readonly username: string | null
  readonly bsuid: string | null
}

/** Columns of a ContactRow, from `contact c`. */
const contactRow: Sql = sql`
  select c.id, c.name, phone.value as phone, phone.wa_id as "waId", lid.value as lid, username.value as username,
    bsuid.value as bsuid
  from contact c
  ${phoneOf(sql`c.id`)}
  ${newestOf('lid', sql`c.id`)}
  ${newestOf('username', sql`c.id`)}
  ${newestOf('bsuid', sql`c.id`)}`

export async function findContacts(
  db: Queryable,
  tenantId: TenantId,
  contactIds: readonly ContactId[],
): Promise<ContactRow[]> {
  return db.query<ContactRow>(sql`
    ${contactRow} where c.tenant_id = ${tenantId} and c.id = any (${contactIds}::uuid[])`)
}

export interface ContactFilter {
  /** Part of a name, or digits of a number or LID. */
  readonly q?: string | undefined
  /** Who has a chat with this instance. */
  readonly instanceId?: InstanceId | undefined
  /** Contacts older than this one. */
  readonly before?: ContactId | undefined
  readonly limit: number
}

/** The newest first. */
export async function listContacts(tx: Tx, tenantId: TenantId, filter: ContactFilter): Promise<ContactRow[]> {
  const { q, instanceId, before, limit } = filter
  const where = [
    sql`c.tenant_id = ${tenantId} and c.merged_into is null`,
    before ? sql`c.id < ${before}` : empty,
    instanceId
      ? sql`exists (select from chat
          where chat.contact_id = c.id and chat.instance_id = ${instanceId} and chat.merged_into is null)`
      : empty,
    q ? contactIsLike(q) : empty,
  ].filter((condition) => condition !== empty)
  return tx.query<ContactRow>(sql`${contactRow} where ${join(where, ' and ')} order by c.id desc limit ${limit}`)
}

/** SQL of the condition that `contact c` has `q` in a name, or in what it is known by. */
export function contactIsLike(q: string): Sql {
  const words = containing(q)
  const digits = q.replace(/[\s().+-]/g, '')
  const numbers = /^\d{2,}$/.test(digits)
    ? sql`or (i.kind in ('phone', 'lid') and i.value like ${`%${digits}%`})`
    : empty
  const username = containing(q.replace(/^@/, '').toLowerCase())
  return sql`(c.name ilike ${words} or exists (
    select from contact_identity i
    where i.contact_id = c.id and ((i.kind = 'username' and i.value like ${username}) or i.value = ${q} ${numbers})))`
}

/** A pattern for `like`. */
export const containing = (text: string): string => `%${text.replace(/[\\%_]/g, String.raw`\$&`)}%`

export interface ContactDetails {
  readonly id: ContactId
  readonly givenName: string | null
  readonly savedName: string | null
  readonly pushName: string | null
  readonly createdAt: Date
  readonly updatedAt: Date
  readonly identities: readonly IdentityRow[]
  readonly chats: readonly { readonly id: ChatId; readonly instanceId: InstanceId }[]
}

export interface IdentityRow {
  readonly kind: IdentityKind
  readonly value: string
  readonly waId: string | null
  readonly onWhatsApp: boolean | null
  readonly checkedAt: string | null
  readonly since: string
}

/** All that is known of a contact; of the one that it was merged into, if it was. */
export async function findContactDetails(
  tx: Tx,
  tenantId: TenantId,
  contactId: ContactId,
): Promise<ContactDetails | undefined> {
  const [row] = await tx.query<ContactDetails>(sql`
    select c.id, c.given_name as "givenName", c.saved_name as "savedName", c.push_name as "pushName",
      c.created_at as "createdAt", c.updated_at as "updatedAt",
      (select coalesce(json_agg(json_build_object('kind', i.kind, 'value', i.value, 'waId', i.wa_id,
          'onWhatsApp', i.on_whatsapp, 'checkedAt', i.checked_at, 'since', i.since) order by i.kind desc, i.since, i.value), '[]')
        from contact_identity i where i.contact_id = c.id) as identities,
      (select coalesce(json_agg(json_build_object('id', chat.id, 'instanceId', chat.instance_id) order by chat.id), '[]')
        from chat where chat.contact_id = c.id and chat.merged_into is null) as chats
    from contact asked join contact c on c.id = ${survivorOf(sql`asked`)}
    where asked.tenant_id = ${tenantId} and asked.id = ${contactId} and c.tenant_id = ${tenantId}`)
  return row
}

export async function insertContact(tx: Tx, tenantId: TenantId, contactId: ContactId): Promise<void> {
  await tx.execute(sql`insert into contact (id, tenant_id) values (${contactId}, ${tenantId})`)
}

/** Where a name comes from: from us, from the phone's address book, from the person itself. */
export type NameSource = 'given' | 'saved' | 'push'

const nameColumn: Readonly<Record<NameSource, Sql>> = {
  given: sql`given_name`,
  saved: sql`saved_name`,
  push: sql`push_name`,
}

/** Keeps a name of a contact (null: none), or of the one that it was merged into. @returns whether it changed. */
export async function renameContact(
  db: Queryable,
  tenantId: TenantId,
  contactId: ContactId,
  { source, name }: { readonly source: NameSource; readonly name: string | null },
): Promise<boolean> {
  const column = nameColumn[source]
  const changed = await db.execute(sql`
    update contact set ${column} = ${name}, updated_at = now()
    where id = (select coalesce(merged_into, id) from contact where id = ${contactId} and tenant_id = ${tenantId})
      and tenant_id = ${tenantId} and ${column} is distinct from ${name}`)
  return changed > 0
}
