/** Identities of contacts: phones, LIDs, usernames, business-scoped ids. */
import sql, { empty, raw, type Sql } from 'sql-template-tag'
import type { ContactId, TenantId } from '../../kernel/ids.js'
import type { Queryable, Tx } from '../../platform/database/database.js'
import type { Identity, IdentityKind } from './recipient.js'

/** Takes the tenant's contacts for the transaction, so that two merges never meet. Making a contact does not need it. */
export async function lockIdentities(tx: Tx, tenantId: TenantId): Promise<void> {
  await tx.execute(sql`select pg_advisory_xact_lock(hashtextextended('contact_identity:' || ${tenantId}::text, 0))`)
}

/** Whom each identity names, in their order; undefined where nobody. */
export async function findOwners(
  db: Queryable,
  tenantId: TenantId,
  identities: readonly Identity[],
): Promise<(ContactId | undefined)[]> {
  const rows = await db.query<{ contactId: ContactId | null }>(
    sql`
      select i.contact_id as "contactId"
      from unnest(${identities.map(({ kind }) => kind)}::text[], ${identities.map(({ value }) => value)}::text[])
        with ordinality as asked (kind, value, ord)
      left join lateral (select contact_id from contact_identity
        where tenant_id = ${tenantId} and kind = asked.kind and value = asked.value limit 1) i on true
      order by asked.ord`,
    'find-identity-owners',
  )
  return rows.map(({ contactId }) => contactId ?? undefined)
}

/**
 * The same, holding the identities until the end of the transaction: nobody else makes a contact of them meanwhile. Each may
 * occur once.
 */
export async function holdIdentities(
  tx: Tx,
  tenantId: TenantId,
  identities: readonly Identity[],
): Promise<(ContactId | undefined)[]> {
  const rows = await tx.query<{ kind: IdentityKind; value: string; contactId: ContactId | null }>(sql`
    insert into contact_identity (tenant_id, kind, value)
    select * from (
      select ${tenantId}::uuid, kind, value
      from unnest(${identities.map(({ kind }) => kind)}::text[], ${identities.map(({ value }) => value)}::text[])
        as i (kind, value)
      order by kind desc, value
    ) i
    on conflict (tenant_id, kind, value) do update set contact_id = contact_identity.contact_id
    returning kind, value, contact_id as "contactId"`)
  return identities.map(
    ({ kind, value }) => rows.find((row) => row.kind === kind && row.value === value)?.contactId ?? undefined,
  )
}

/** Gives those identities that nobody has to a contact; earlier ones in the list count as learned first. Returns them. */
export async function assignIdentities(
  tx: Tx,
  tenantId: TenantId,
  contactId: ContactId,
  identities: readonly Identity[],
): Promise<string[]> {
  const distinct = [...new Map(identities.map((identity) => [`${identity.kind} ${identity.value}`, identity])).values()]
  const rows = await tx.query<{ value: string }>(sql`
    insert into contact_identity (tenant_id, kind, value, contact_id, since)
    select ${tenantId}::uuid, kind, value, ${contactId}::uuid, now() + (ord - 1) * interval '1 microsecond'
    from unnest(${distinct.map(({ kind }) => kind)}::text[], ${distinct.map(({ value }) => value)}::text[])
      with ordinality as i (kind, value, ord)
    on conflict (tenant_id, kind, value)
    do update set contact_id = excluded.contact_id, since = excluded.since where contact_identity.contact_id is null
    returning value`)
  return rows.map(({ value }) => value)
}

export interface PhoneRow {
  readonly phone: string
  readonly waId: string | null
}

export async function findPhones(db: Queryable, tenantId: TenantId, contactId: ContactId): Promise<PhoneRow[]> {
  return db.query<PhoneRow>(sql`
    select value as phone, wa_id as "waId" from contact_identity
    where tenant_id = ${tenantId} and contact_id = ${contactId} and kind = 'phone' order by since, value`)
}

export async function hasOtherLid(
  db: Queryable,
  tenantId: TenantId,
  contactId: ContactId,
  lid: string,
): Promise<boolean> {
  const rows = await db.query(sql`
    select from contact_identity
    where tenant_id = ${tenantId} and contact_id = ${contactId} and kind = 'lid' and value <> ${lid} limit 1`)
  return rows.length > 0
}

/** Gives phones to another contact. What WhatsApp said of them is forgotten: it was said of somebody else. */
export async function movePhones(
  tx: Tx,
  tenantId: TenantId,
  { phones, to }: { readonly phones: readonly string[]; readonly to: ContactId },
): Promise<void> {
  await tx.execute(sql`
    update contact_identity set contact_id = ${to}, on_whatsapp = null, wa_id = null, lid = null, checked_at = null
    where tenant_id = ${tenantId} and kind = 'phone' and value = any (${phones}::text[])`)
}

/** Makes this the one username of a contact, whoever had it before. */
export async function moveUsername(tx: Tx, tenantId: TenantId, contactId: ContactId, username: string): Promise<void> {
  await tx.execute(sql`
    delete from contact_identity
    where tenant_id = ${tenantId} and contact_id = ${contactId} and kind = 'username' and value <> ${username}`)
  await tx.execute(sql`
    update contact_identity set contact_id = ${contactId}, since = now()
    where tenant_id = ${tenantId} and kind = 'username' and value = ${username}`)
}

/** The phone or LID under which whom an identity names can be written to. */
export async function findAddress(
  db: Queryable,
  tenantId: TenantId,
  { kind, value }: Identity,
): Promise<Identity | undefined> {
  const [address] = await db.query<Identity>(sql`
    select address.kind, address.value
    from contact_identity named join contact_identity address on address.contact_id = named.contact_id
    where named.tenant_id = ${tenantId} and named.kind = ${kind} and named.value = ${value}
      and address.tenant_id = ${tenantId} and address.kind in ('phone', 'lid')
    order by address.kind = 'phone' desc, address.since, address.value limit 1`)
  return address
}

// For statements about something else: each joins one row, or nulls.

/**
 * The number that a contact is shown with: the first that was seen. Columns `value` and `wa_id`.
 *
 * @param contactId the column, such as sql`chat.contact_id`
 * @param as what the join is called
 */
export const phoneOf = (contactId: Sql, as = 'phone'): Sql => sql`
  left join lateral (select value, wa_id from contact_identity
    where contact_id = ${contactId} and kind = 'phone' order by since, value limit 1) ${raw(as)} on true`

/**
 * The number to write to: one that WhatsApp has confirmed goes before others. Columns `value` and `wa_id`.
 *
 * @param only a further condition, beginning with `and`
 */
export const reachablePhoneOf = (contactId: Sql, only: Sql = empty): Sql => sql`
  left join lateral (select value, wa_id from contact_identity
    where contact_id = ${contactId} and kind = 'phone' ${only}
    order by on_whatsapp is true desc, since, value limit 1) phone on true`

/** The newest identity of a kind that a contact has one of at a time. Column `value`. */
export const newestOf = (kind: Exclude<IdentityKind, 'phone'>, contactId: Sql, as: string = kind): Sql => sql`
  left join lateral (select value from contact_identity
    where contact_id = ${contactId} and kind = ${raw(`'${kind}'`)} order by since desc limit 1) ${raw(as)} on true`
