/** Cursors of lists that are in the order of messages: the id of the last message on the page. */
import { AppError } from '../../kernel/errors.js'
import { type MessageId, parseId, publicId } from '../../kernel/ids.js'

/** @throws AppError `invalid_request` on what is no cursor. */
export function parseMessageCursor(cursor: string | undefined): MessageId | undefined {
  if (cursor === undefined) return undefined
  const id = parseId('msg', cursor)
  if (id) return id
  const detail = 'Pass the nextCursor of the page before.'
  throw new AppError('invalid_request', { errors: [{ pointer: '/cursor', detail }] })
}

/** A page of `limit`, from rows of which one more was asked for. */
export function pageOfMessages<Row extends { readonly id: MessageId }, View>(
  rows: readonly Row[],
  limit: number,
  view: (row: Row) => View,
): { data: View[]; nextCursor: string | null } {
  const page = rows.slice(0, limit)
  const last = rows.length > limit ? page.at(-1) : undefined
  return { data: page.map(view), nextCursor: last ? publicId('msg', last.id) : null }
}
