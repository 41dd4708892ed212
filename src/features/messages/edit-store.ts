import sql, { type Sql } from 'sql-template-tag'

/** SQL of the content of message `target` after an edit to `body`: its text, or the caption of its media. */
export const editedContent = (target: Sql, body: Sql): Sql => sql`
  case
    when ${body} is null then ${target}.content
    when ${target}.type = 'text' then jsonb_set(${target}.content, '{text,body}', to_jsonb(${body}))
    when ${target}.type in ('image', 'video', 'document')
      then jsonb_set(${target}.content, array[${target}.type, 'caption'], to_jsonb(${body}))
    else ${target}.content
  end`
