/** Lists that are ordered by id, the newest first: the cursor is the id of the last one shown. */
import { AppError } from '../../kernel/errors.js'
import { type IdOf, type IdPrefix, parseId } from '../../kernel/ids.js'

/** Throws `invalid_request` on what no page has answered. */
export function parseCursor<Prefix extends IdPrefix>(
  prefix: Prefix,
  cursor: string | undefined,
): IdOf<Prefix> | undefined {
  if (cursor === undefined) return undefined
  const id = parseId(prefix, cursor)
  if (id) return id
  const detail = 'Pass the nextCursor of the page before.'
  throw new AppError('invalid_request', { errors: [{ pointer: '/cursor', detail }] })
}

/** A page out of up to `limit + 1` rows, and its last one where more follow. */
export function cut<Row>(rows: readonly Row[], limit: number): { page: readonly Row[]; next: Row | undefined } {
  const page = rows.slice(0, limit)
  return { page, next: rows.length > limit ? page.at(-1) : undefined }
}
