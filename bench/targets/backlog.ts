/** Makes lanes with messages waiting in them, by SQL. */
import pg from 'pg'
import type { ChatId } from '../../src/kernel/ids.js'

export interface Backlog {
  readonly tenantId: string
  readonly instanceId: string
  readonly waiting: number
  readonly lanes: number
}

/** Messages are dealt to the lanes in turn. Resolves to the chats. */
export async function fillLanes(url: string, { tenantId, instanceId, waiting, lanes }: Backlog): Promise<ChatId[]> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    await client.query(`
      create temp table made as
        select n, uuid_v7() as contact_id, uuid_v7() as chat_id,
          '+5511' || lpad((random() * 1e4)::int::text, 5, '0') || lpad(n::text, 8, '0') as phone
        from generate_series(0, ${lanes - 1}) n`)
    const owner = [tenantId, instanceId]
    await client.query('insert into contact (id, tenant_id) select contact_id, $1 from made', [tenantId])
    await client.query(
      `insert into contact_identity (tenant_id, kind, value, contact_id, on_whatsapp, checked_at)
       select $1, 'phone', phone, contact_id, true, now() from made`,
      [tenantId],
    )
    await client.query(
      'insert into chat (id, tenant_id, instance_id, contact_id) select chat_id, $1, $2, contact_id from made',
      owner,
    )
    await client.query(
      `insert into chat_lane (chat_id, tenant_id, instance_id, next_seq, head_due_at)
       select chat_id, $1, $2, 1 + added, case when added > 0 then now() - interval '1 hour' end
       from (select made.*, ${waiting} / ${lanes} + (n < ${waiting} % ${lanes})::int as added from made) lane
       on conflict (chat_id) do update set next_seq = excluded.next_seq, head_due_at = excluded.head_due_at`,
      owner,
    )
    await client.query(
      `insert into message (id, tenant_id, instance_id, chat_id, direction, whatsapp_id, type, content, origin, status,
         chat_seq)
       select uuid_v7(), $1, $2, chat_id, 'outbound', '3EB0' || upper(substr(md5(random()::text), 1, 18)), 'text',
         '{"type": "text", "text": {"body": "waiting"}}', 'api', 'queued', 1 + w / ${lanes}
       from generate_series(0, ${waiting - 1}) w join made on made.n = w % ${lanes}`,
      owner,
    )
    const { rows } = await client.query('select chat_id as id from made order by n')
    await client.query('vacuum analyze')
    return rows.map(({ id }) => id as ChatId)
  } finally {
    await client.end()
  }
}
