/** The words of messages: kept beside them, a moment behind, and looked up as whole words, phrases, or beginnings of words. */
import sql, { join, type Sql } from 'sql-template-tag'
import type { TenantId } from '../../kernel/ids.js'
import type { Database, Queryable } from '../../platform/database/database.js'

/** What is looked for, as parseSearch has read it. */
export interface Search {
  /** Words and "phrases", as a search engine takes them. */
  readonly words: string
  /** Beginnings of words; letters and digits only. */
  readonly beginnings: readonly string[]
}

/** SQL of the condition on `message_search s`. To be asked as the system role: no index serves this under row-level security. */
export function matches(tenantId: TenantId, { words, beginnings }: Search): Sql {
  const parts = [
    // The tenant is a word of every one of its messages.
    sql`${`'${tenantId}'`}::tsquery`,
    ...(words === '' ? [] : [sql`websearch_to_tsquery('simple', search_fold(${words}))`]),
    ...beginnings.map((beginning) => sql`('''' || search_fold(${beginning}) || ''':*')::tsquery`),
  ]
  return sql`s.tenant_id = ${tenantId} and s.words @@ (${join(parts, ' && ')})`
}

/** Tenants with events whose messages were not looked at yet. */
export async function findUnsearched(db: Queryable): Promise<TenantId[]> {
  const rows = await db.query<{ tenantId: TenantId }>(sql`
    select c.tenant_id as "tenantId" from event_counter c left join search_position p using (tenant_id)
    where c.last_seq > coalesce(p.seq, 0)`)
  return rows.map(({ tenantId }) => tenantId)
}

/**
 * Takes in the messages of the tenant's next events: of the sequence, since that has neither gaps nor latecomers. Resolves
 * to how many events were passed; 0 also while another process is at it.
 */
export async function indexNext(db: Database, tenantId: TenantId, limit: number): Promise<number> {
  return db.tx(async (tx) => {
    await tx.execute(sql`
      insert into search_position (tenant_id) values (${tenantId}) on conflict (tenant_id) do nothing`)
    const [position] = await tx.query<{ seq: bigint }>(sql`
      select seq from search_position where tenant_id = ${tenantId} for update skip locked`)
    if (!position) return 0
    const [passed] = await tx.query<{ n: number }>(sql`
      with page as materialized (
        select seq, type, subject_id from event
        where tenant_id = ${tenantId} and seq > ${position.seq} order by seq limit ${limit}
      ), indexed as (
        insert into message_search (message_id, tenant_id, words)
        select m.id, m.tenant_id, search_words(m.tenant_id, m.type, m.content) from message m
        where m.tenant_id = ${tenantId} and m.id = any (array(
          select subject_id from page
          where type in ('message.queued', 'message.received', 'message.edited', 'message.deleted', 'message.sent')))
          -- What is sent was queued before, but for what our own number wrote on the phone.
          and (m.origin = 'phone' or m.id = any (array(select subject_id from page where type <> 'message.sent')))
          and not exists (select from message_search s where s.message_id = m.id
            and s.words = search_words(m.tenant_id, m.type, m.content))
        on conflict (message_id) do update set words = excluded.words
      ), moved as (
        update search_position set seq = (select max(seq) from page)
        where tenant_id = ${tenantId} and exists (select from page)
      )
      select count(*)::int as n from page`)
    return passed?.n ?? 0
  })
}
