/** `GET /api/messages`: list and search. */
import { z } from 'zod'
import { isStorable } from '../../kernel/storable-text.js'
import type { Reader } from '../../platform/database/reader.js'
import { type App, idParam, pageOf, pageQuery } from '../../platform/http/route.js'
import { messageStatuses } from './message.js'
import { pageOfMessages, parseMessageCursor } from './message-cursor.js'
import { listMessages } from './message-store.js'
import { messageView, viewMessage } from './message-view.js'
import { parseSearch } from './parse-search.js'

const time = z.iso.datetime({ offset: true }).transform((text) => new Date(text))

const query = pageQuery
  .extend({
    instanceId: idParam('ins').optional(),
    chat: idParam('cht').optional(),
    status: z.enum(messageStatuses).optional(),
    direction: z.enum(['inbound', 'outbound']).optional(),
    type: z
      .string()
      .regex(/^[a-z]{1,20}$/, 'expected a type of content')
      .optional()
      .meta({ examples: ['text', 'image'] }),
    since: time
      .optional()
      .meta({ description: 'Written at this time or later.', examples: ['2026-11-01T00:00:00-03:00'] }),
    until: time.optional().meta({ description: 'Written before this time.', examples: ['2026-11-08T00:00:00-03:00'] }),
    q: z
      .string()
      .max(200)
      .refine(isStorable, 'must not hold NUL characters or halves of surrogate pairs')
      .refine((text) => /[\p{L}\p{N}]/u.test(text), 'expected a word to look for')
      .optional()
      .meta({
        description:
          'Words in texts, captions and file names, whatever their case and accents: all of them as whole words, `"a phrase"`, `-not`, `this or that`, `begin*`. New messages can be found about a second later.',
        examples: ['nota fiscal -cancelada', 'pre*'],
      }),
  })
  .strict()

export function messageListRoutes({ reader }: { readonly reader: Reader }): (app: App) => void {
  return (app) => {
    app.get(
      '/api/messages',
      {
        config: { scope: 'read' },
        schema: {
          tags: ['Messages'],
          summary: 'List and search messages, the newest first',
          querystring: query,
          response: { 200: pageOf(messageView) },
        },
      },
      async (request) => {
        const { tenantId } = request.auth
        const { limit, cursor, chat, q, ...rest } = request.query
        const filter = { ...rest, chatId: chat, before: parseMessageCursor(cursor), limit: limit + 1 }
        // Under row-level security no index of words serves; the statement names the tenant throughout.
        const rows =
          q === undefined
            ? await reader.tenantTx(tenantId, (tx) => listMessages(tx, tenantId, filter))
            : await reader.asSystem(tenantId, (db) => listMessages(db, tenantId, { ...filter, search: parseSearch(q) }))
        return pageOfMessages(rows, limit, viewMessage)
      },
    )
  }
}
