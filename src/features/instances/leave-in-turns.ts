/**
 * How a gateway that stops puts its numbers down while others are there to take them: some at a time, the next ones when the
 * earlier ones are up again elsewhere. All at once, each would wait behind the logins of all the others; in turns, a number
 * is silent for its own login. How many at a time follows from how long they take (additive increase, as in TCP): what the
 * others can do depends on their machines and on their load. With nobody there to take them there is nothing to wait for.
 */
import type { Clock } from '../../kernel/clock.js'
import type { InstanceId } from '../../kernel/ids.js'
import type { Queryable } from '../../platform/database/database.js'
import type { Incarnation } from '../../platform/leases/lease.js'
import { findUpElsewhere } from './placement-store.js'
import type { Session } from './session.js'

export interface LeaveInTurnsOptions {
  readonly db: Queryable
  readonly clock: Pick<Clock, 'mono' | 'sleep'>
  readonly self: Incarnation
  readonly sessions: readonly Pick<Session, 'instanceId' | 'isPairing' | 'drain'>[]
  /** Whether another replica would take numbers, as of now. */
  readonly hasTakers: () => Promise<boolean>
  /** After this the rest is put down at once, in ms. */
  readonly withinMs: number
}

/** How many are between two holders: at first, at least, at most. */
const AT_ONCE = { first: 4, least: 2, most: 32 }
/** When as many as are moving were up elsewhere sooner than this, one more goes; after one that took longer than that, one fewer. In ms. */
const QUICK_MS = 500
const SLOW_MS = 1_000
/** A number that is not up elsewhere after this no longer keeps others waiting. */
const TURN_MS = 2_500
const LOOK_EVERY_MS = 50

/** Resolves when each session was told to end, not when it has ended. Never rejects. */
export async function leaveInTurns(options: LeaveInTurnsOptions): Promise<void> {
  const { db, clock, self, sessions, hasTakers, withinMs } = options
  const until = clock.mono() + withinMs
  // A phone that is being linked may still be done here.
  const waiting = sessions.toSorted((one, other) => Number(one.isPairing) - Number(other.isPairing))
  /** Told to end since (monotonic ms), and not seen up elsewhere yet. */
  const moving = new Map<InstanceId, number>()
  let atOnce = AT_ONCE.first
  try {
    while (waiting.length > 0 && clock.mono() < until && (await hasTakers())) {
      for (const session of waiting.splice(0, Math.max(0, Math.floor(atOnce) - moving.size))) {
        session.drain()
        moving.set(session.instanceId, clock.mono())
      }
      await clock.sleep(LOOK_EVERY_MS)
      for (const id of await findUpElsewhere(db, self, [...moving.keys()])) settle(id)
      for (const [id, since] of moving) if (clock.mono() - since >= TURN_MS) settle(id)
    }
  } catch {
    // Without an answer of the database nobody can say who is up elsewhere.
  }
  for (const session of waiting) session.drain()

  function settle(id: InstanceId): void {
    const tookMs = clock.mono() - (moving.get(id) ?? 0)
    moving.delete(id)
    if (tookMs < QUICK_MS) atOnce = Math.min(AT_ONCE.most, atOnce + 1 / atOnce)
    else if (tookMs > SLOW_MS) atOnce = Math.max(AT_ONCE.least, atOnce - 1)
  }
}
