/** What `mirante move` leaves in both databases, so that no two Mirantes ever act on copies of the same numbers. */
import sql from 'sql-template-tag'
import { AppError } from '../../kernel/errors.js'
import type { Queryable } from './database.js'

export type MoveSide = 'source' | 'target'

interface MoveMark {
  readonly side: MoveSide
  readonly other: string
  readonly finished: boolean
}

/** Throws `database_moved` where Mirante must not start on this database. */
export async function refuseMovedDatabase(db: Queryable): Promise<void> {
  const marks = await readMarks(db)
  const source = marks.find(({ side }) => side === 'source')
  if (source?.finished) {
    throw new AppError('database_moved', {
      detail: `Its data has moved to ${source.other}; start there, with DATABASE_URL set to it.`,
    })
  }
  if (source) {
    throw new AppError('database_moved', {
      detail: `A move to ${source.other} was begun and has not finished: run mirante move again, or mirante move --stay to remain here.`,
    })
  }
  const target = marks.find(({ side, finished }) => side === 'target' && !finished)
  if (target) {
    throw new AppError('database_moved', {
      detail: `A move from ${target.other} to this database was begun and has not finished: run mirante move again.`,
    })
  }
}

export const readMarks = (db: Queryable): Promise<MoveMark[]> =>
  db.query<MoveMark>(sql`select side, other, finished_at is not null as finished from database_move`)

export async function markMove(db: Queryable, side: MoveSide, other: string): Promise<void> {
  await db.execute(sql`
    insert into database_move (side, other) values (${side}, ${other})
    on conflict (side) do update set other = excluded.other, begun_at = now(), finished_at = null`)
}

export async function finishMove(db: Queryable, side: MoveSide): Promise<void> {
  await db.execute(sql`update database_move set finished_at = now() where side = ${side}`)
}

/** Whether there was an unfinished one. */
export async function forgetMove(db: Queryable): Promise<boolean> {
  const count = await db.execute(sql`delete from database_move where side = 'source' and finished_at is null`)
  return count > 0
}
