/**
 * How many requests may be under way to their acceptance. Beyond it they are refused at once (503), so that those which were
 * let in are answered soon, and the process does not fill with those that wait.
 */
import type { Clock } from '../../kernel/clock.js'
import { AppError } from '../../kernel/errors.js'

export interface AcceptGate {
  /** Throws `overloaded`, or lets in; whoever was let in calls what it returns, once, when done. */
  enter(): () => void
}

export interface AcceptGateOptions {
  readonly clock: Pick<Clock, 'mono'>
  /** So many at most, however fast they go. @default 5,000 */
  readonly most?: number
  /** So many are a crowd; while the oldest of it has been under way for longer than `slowMs` nobody else is let in. @default 500 */
  readonly crowd?: number
  /** @default 500 */
  readonly slowMs?: number
  /** A turn of the event loop that has let in a crowd, for so long, lets in no more, in ms. @default 200 */
  readonly turnMs?: number
}

const RETRY_AFTER_S = 1

export function createAcceptGate({
  clock,
  most = 5_000,
  crowd = 500,
  slowMs = 500,
  turnMs = 200,
}: AcceptGateOptions): AcceptGate {
  /** In the order in which they came. */
  const underWay = new Set<{ readonly since: number }>()
  let turn: { readonly beganAt: number; entered: number } | undefined
  return {
    enter() {
      const since = clock.mono()
      turn ??= beginTurn(since)
      if (isOverloaded(since, turn)) throw new AppError('overloaded', { retryAfterSeconds: RETRY_AFTER_S })
      const entry = { since }
      underWay.add(entry)
      turn.entered += 1
      return () => void underWay.delete(entry)
    },
  }

  /** All that came while the last turn was busy comes in one turn: who is late in it has waited in a socket, unseen. */
  function beginTurn(beganAt: number) {
    setImmediate(() => {
      turn = undefined
    })
    return { beganAt, entered: 0 }
  }

  /** A few that are slow are a slow moment of the database; a crowd that is slow grows faster than it is served. */
  function isOverloaded(now: number, { beganAt, entered }: NonNullable<typeof turn>): boolean {
    if (underWay.size >= most) return true
    if (entered >= crowd && now - beganAt > turnMs) return true
    if (underWay.size < crowd) return false
    const [oldest] = underWay
    return oldest !== undefined && now - oldest.since > slowMs
  }
}
