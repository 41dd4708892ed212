/** Following contacts and chats that were merged into others. */
import sql, { type Sql } from 'sql-template-tag'

/**
 * SQL of the id that a row of `contact` or `chat` goes by: its own, or that of the one it was merged into. To be joined by; as
 * `case`, since PostgreSQL takes `coalesce` for something that may leak rows past row-level security, and then uses no index.
 */
export const survivorOf = (row: Sql): Sql =>
  sql`case when ${row}.merged_into is null then ${row}.id else ${row}.merged_into end`
