/** Makes messages that have been sent and taken in long ago, by SQL. */
import pg from 'pg'

const CHATS = 2_000
const CHUNK = 1_000_000
const DAYS = 30

/** For the first instance of the database: half of them sent, half received, over thirty days and some thousand chats. */
export async function storeMessages(url: string, count: number): Promise<void> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    await client.query('set synchronous_commit = off')
    await client.query(`
      create temp table owner as select id as instance_id, tenant_id from instance order by id limit 1;
      create temp table made as
        select n, uuid_v7() as contact_id, uuid_v7() as chat_id, '+55219' || lpad(n::text, 8, '0') as phone
        from generate_series(0, ${CHATS - 1}) n;
      create index on made (n);
      insert into contact (id, tenant_id) select contact_id, tenant_id from made, owner;
      insert into contact_identity (tenant_id, kind, value, contact_id, on_whatsapp, checked_at)
        select tenant_id, 'phone', phone, contact_id, true, now() from made, owner;
      insert into chat (id, tenant_id, instance_id, contact_id)
        select chat_id, tenant_id, instance_id, contact_id from made, owner;
      insert into chat_lane (chat_id, tenant_id, instance_id, next_seq, head_seq)
        select chat_id, tenant_id, instance_id, ${count} + 1, ${count} + 1 from made, owner`)
    for (let from = 0; from < count; from += CHUNK) {
      await client.query(`
        insert into message (id, tenant_id, instance_id, chat_id, sender_id, direction, whatsapp_id, type, content, origin,
          status, chat_seq, attempts, created_at, first_try_at, sent_at, delivered_at)
        select uuid_v7(), tenant_id, instance_id, chat_id, case when inbound then contact_id end,
          case when inbound then 'inbound' else 'outbound' end, '3EB0' || upper(substr(md5(m::text), 1, 18)), 'text',
          jsonb_build_object('type', 'text', 'text', jsonb_build_object('body', 'message number ' || m)),
          case when inbound then 'contact' else 'api' end, case when inbound then 'received' else 'read' end::message_status,
          case when not inbound then m / ${CHATS} + 1 end, (not inbound)::int, at,
          case when not inbound then at end, case when not inbound then at end, case when not inbound then at end
        from (select m, m / ${CHATS} % 2 = 1 as inbound, now() - ${DAYS} * random() * interval '1 day' as at
          from generate_series(${from}, ${Math.min(from + CHUNK, count) - 1}) m) one
        join made on made.n = m % ${CHATS}, owner`)
    }
    await client.query('vacuum analyze')
  } finally {
    await client.end()
  }
}
