/**
 * How many messages of one instance may wait to be sent. A number sends only so fast, so a backlog without end would hold
 * promises that nobody can keep in time: beyond the limit a caller is told to come back (429). Kept about, not exactly: each
 * process counts what it lets in and looks at the lanes now and then, so with n processes n twentieths of the limit more may
 * be let in.
 */
import type { Clock } from '../../kernel/clock.js'
import { AppError } from '../../kernel/errors.js'
import type { InstanceId, TenantId } from '../../kernel/ids.js'
import type { Queryable } from '../../platform/database/database.js'
import { countWaiting } from './lane-store.js'

export interface BacklogLimit {
  /** Rejects with `instance_backlog_full`. */
  admit(tenantId: TenantId, instanceId: InstanceId): Promise<void>
}

export interface BacklogLimitOptions {
  readonly db: Queryable
  readonly clock: Pick<Clock, 'mono'>
  /** Messages of an instance. */
  readonly most: number
}

/** Of the limit: so many are let in between two looks. */
const STEP = 1 / 20
/** While it is full, a look at most this often, however many knock. */
const LOOK_AGAIN_MS = 1_000
const RETRY_AFTER_S = 5
/** Instances that are counted; beyond it all begin anew. */
const MAX_COUNTED = 10_000

interface Counted {
  /** At the last look. */
  waiting: number
  /** Let in since. */
  admitted: number
  lookedAt: number
  looking: Promise<void> | undefined
}

export function createBacklogLimit({ db, clock, most }: BacklogLimitOptions): BacklogLimit {
  const step = Math.max(1, Math.floor(most * STEP))
  const counted = new Map<InstanceId, Counted>()

  return {
    async admit(tenantId, instanceId) {
      const state = stateOf(instanceId)
      const isFull = state.waiting + state.admitted >= most
      const isDue = isFull ? clock.mono() - state.lookedAt >= LOOK_AGAIN_MS : state.admitted >= step
      if (isDue) await lookOnce(state, tenantId, instanceId)
      if (state.waiting + state.admitted >= most) {
        const detail = `At most ${most} messages of an instance may wait.`
        throw new AppError('instance_backlog_full', { detail, retryAfterSeconds: RETRY_AFTER_S })
      }
      state.admitted += 1
    },
  }

  function stateOf(instanceId: InstanceId): Counted {
    const known = counted.get(instanceId)
    if (known) return known
    if (counted.size >= MAX_COUNTED) counted.clear()
    const state = { waiting: 0, admitted: 0, lookedAt: Number.NEGATIVE_INFINITY, looking: undefined }
    counted.set(instanceId, state)
    return state
  }

  function lookOnce(state: Counted, tenantId: TenantId, instanceId: InstanceId): Promise<void> {
    state.looking ??= look(state, tenantId, instanceId).finally(() => {
      state.looking = undefined
    })
    return state.looking
  }

  async function look(state: Counted, tenantId: TenantId, instanceId: InstanceId): Promise<void> {
    const waiting = await countWaiting(db, tenantId, instanceId)
    Object.assign(state, { waiting, admitted: 0, lookedAt: clock.mono() })
  }
}
