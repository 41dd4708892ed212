/** Which message of each chat is its newest, kept by the very statements that store messages. */
import sql, { type Sql } from 'sql-template-tag'

/**
 * A CTE `active` for a statement that stores messages: each chat has its newest of those `stored` (id, tenant_id,
 * instance_id, chat_id), unless it has a newer one. Locks the rows in the order of the chats, before the event counters: see
 * `afterActivity`.
 */
export const noteActivity = (stored: Sql): Sql => sql`
  active as (
    insert into chat_activity as a (chat_id, tenant_id, instance_id, last_message_id)
    select distinct on (chat_id) chat_id, tenant_id, instance_id, id from ${stored} order by chat_id, id desc
    on conflict (chat_id) do update set last_message_id = excluded.last_message_id
      where a.last_message_id < excluded.last_message_id
    returning chat_id
  )`

/** A row to join `new_event` with: makes the counters, which are the last locks of any statement, wait for `active`. */
export const afterActivity: Sql = sql`(select count(*) from active) as touched`
