/**
 * A pooler between us and the server (PgBouncer, in any mode) does not pass on what a session is told at its start: role,
 * timeouts, planner. Without them row-level security and the limits on locks would be gone without a word.
 */
import sql from 'sql-template-tag'
import { AppError } from '../../kernel/errors.js'
import { errorText } from '../../kernel/logger.js'
import type { Queryable } from './database.js'

/** Throws `connection_pooler` where the role that the session began with is not the one that it has. */
export async function refusePooler(db: Queryable): Promise<void> {
  const [row] = await db.query<{ role: string }>(sql`select current_user::text as role`)
  if (row?.role === 'mirante_system') return
  throw new AppError('connection_pooler', { detail: 'The settings of a session are lost on their way to the server.' })
}

/** What to throw for an error of a connection: PgBouncer refuses the settings, and says so as if it were out of order. */
export const poolerRefusal = (error: unknown): unknown =>
  /unsupported startup parameter/.test(errorText(error))
    ? new AppError('connection_pooler', { detail: 'It refuses the settings of a session.', cause: error })
    : error
