/**
 * Fairness among endpoints, per process: who may be in flight, who waits here for a moment, and who had better come back
 * later.
 *
 * Promises: at most `perEndpoint` tries in flight for an endpoint, `perTenant` for a tenant, `total` in all; endpoints that
 * are slow, or unknown, have at most half of the seats of their tenant and of the whole, so however many of them there are, a
 * quick one finds a seat; one that fails again and again has ever fewer seats, so that no try beyond the last straw has
 * begun when its circuit opens. A visitor waits here only while its turn is near; otherwise it is given a time to come back, spread over the turns to
 * come, so a long backlog of a dead endpoint costs about two claims a minute and job, and occupies nobody.
 */
import type { Clock } from '../../kernel/clock.js'
import type { TenantId, WebhookId } from '../../kernel/ids.js'
import type { Random } from '../../kernel/random.js'
import { circuitPolicy } from './circuit.js'

export interface GateLimits {
  /** Tries in flight. */
  readonly perEndpoint: number
  /** Failures in a row and tries in flight of an endpoint together, as long as that leaves it one seat. */
  readonly failuresInARow: number
  readonly perTenant: number
  readonly total: number
  /** Visitors waiting here. */
  readonly waitingPerEndpoint: number
  readonly waitingTotal: number
  /** Nobody waits longer here. */
  readonly maxWaitMs: number
  /** Nobody is sent away for longer. */
  readonly maxAwayMs: number
  /** An endpoint that takes longer than this on average is slow. */
  readonly slowMs: number
  /** How long one rests: by then everybody can read in its row why. */
  readonly restMs: number
}

export const gateLimits: GateLimits = {
  perEndpoint: 4,
  failuresInARow: circuitPolicy.failuresInARow,
  perTenant: 16,
  total: 64,
  waitingPerEndpoint: 100,
  waitingTotal: 160,
  maxWaitMs: 2_000,
  maxAwayMs: 60_000,
  slowMs: 1_000,
  restMs: 2_000,
}

export interface Visitor {
  readonly tenantId: TenantId
  readonly endpointId: WebhookId
  /** Failures of the endpoint since its last success, as all workers have counted them. */
  readonly failureCount: number
}

export type Admission =
  /** `leave` must be called when the try is over, once. */
  { readonly admitted: true; readonly leave: () => void } | { readonly admitted: false; readonly comeBackInMs: number }

export interface DeliveryGate {
  enter(visitor: Visitor): Promise<Admission>
  /**
   * Nobody of this endpoint is admitted for a moment, those who wait here included: it has just turned out that it is not to be
   * called, and what they know of it was true before.
   */
  rest(endpointId: WebhookId): void
  /** How a try ended, before its seat is free. The last straw makes the endpoint rest. */
  note(endpointId: WebhookId, succeeded: boolean): void
}

interface Waiter {
  readonly admit: (admission: Admission) => void
  readonly since: number
}

/** What is known of one endpoint. */
interface Lane {
  readonly tenantId: TenantId
  /** When each try in flight began, in monotonic ms; the oldest first. */
  readonly inFlight: Set<{ readonly since: number }>
  readonly waiting: Set<Waiter>
  /** Moving average of how long a try takes. */
  meanMs: number
  /** Since its last success, as far as this process knows. */
  failureCount: number
  /** Whether it ever answered quickly; until then it counts as slow. */
  proven: boolean
  /** Visits are arranged up to here, in monotonic ms. */
  bookedUntil: number
  /** Nobody is admitted before. */
  restsUntil: number
  lastUsedAt: number
}

const FIRST_GUESS_MS = 20
const NEWEST_WEIGHT = 0.25
const VISITS_PER_SEAT = 4
/** Of one endpoint: bounds what a backlog costs in claims. */
const MIN_VISIT_EVERY_MS = 2
/** Endpoints that rest are forgotten when more than this many are known. */
const REMEMBERED_LANES = 1_000

export function createDeliveryGate(
  { clock, random }: { readonly clock: Clock; readonly random: Random },
  limits: GateLimits = gateLimits,
): DeliveryGate {
  const lanes = new Map<WebhookId, Lane>()
  /** Lanes with somebody in flight: at most `total` of them, however many are known. */
  const busy = new Set<Lane>()
  /** Lanes with somebody waiting, the next to be served first. */
  const queue = new Set<Lane>()
  let waitingCount = 0
  let watching = false

  return {
    async enter({ tenantId, endpointId, failureCount }) {
      const lane = laneOf(tenantId, endpointId)
      lane.failureCount = Math.max(lane.failureCount, failureCount)
      if (lane.waiting.size === 0 && hasRoom(lane)) return seat(lane)
      if (mayWait(lane)) return await wait(lane)
      return sendAway(lane)
    },
    rest(endpointId) {
      const lane = lanes.get(endpointId)
      if (lane) rest(lane)
    },
    note(endpointId, succeeded) {
      const lane = lanes.get(endpointId)
      if (!lane) return
      lane.failureCount = succeeded ? 0 : lane.failureCount + 1
      if (lane.failureCount >= limits.failuresInARow) rest(lane)
    },
  }

  function rest(lane: Lane): void {
    lane.restsUntil = clock.mono() + limits.restMs
    lane.bookedUntil = Math.max(lane.bookedUntil, lane.restsUntil)
    for (const waiter of lane.waiting) {
      stopWaiting(lane, waiter)
      waiter.admit(sendAway(lane))
    }
  }

  function laneOf(tenantId: TenantId, endpointId: WebhookId): Lane {
    const now = clock.mono()
    const known = lanes.get(endpointId)
    if (known) {
      known.lastUsedAt = now
      return known
    }
    if (lanes.size >= REMEMBERED_LANES) forgetRested(now)
    const lane: Lane = {
      tenantId,
      inFlight: new Set(),
      waiting: new Set(),
      meanMs: FIRST_GUESS_MS,
      failureCount: 0,
      proven: false,
      bookedUntil: now,
      restsUntil: now,
      lastUsedAt: now,
    }
    lanes.set(endpointId, lane)
    return lane
  }

  function forgetRested(now: number): void {
    for (const [endpointId, lane] of lanes) {
      const rests = lane.inFlight.size === 0 && lane.waiting.size === 0 && now - lane.lastUsedAt > limits.maxAwayMs
      if (rests) lanes.delete(endpointId)
    }
  }

  function hasRoom(lane: Lane): boolean {
    if (lane.inFlight.size >= seatsOf(lane) || isResting(lane)) return false
    const slow = isSlow(lane)
    let ofTenant = 0
    let ofAll = 0
    for (const other of busy) {
      if (slow && !isSlow(other)) continue
      ofAll += other.inFlight.size
      if (other.tenantId === lane.tenantId) ofTenant += other.inFlight.size
    }
    const share = slow ? 0.5 : 1
    return ofTenant < limits.perTenant * share && ofAll < limits.total * share
  }

  function seatsOf({ failureCount }: Lane): number {
    return Math.max(1, Math.min(limits.perEndpoint, limits.failuresInARow - failureCount))
  }

  function seat(lane: Lane): Admission {
    const attempt = { since: clock.mono() }
    lane.inFlight.add(attempt)
    busy.add(lane)
    return { admitted: true, leave: () => leave(lane, attempt) }
  }

  function leave(lane: Lane, attempt: { readonly since: number }): void {
    if (!lane.inFlight.delete(attempt)) return
    if (lane.inFlight.size === 0) busy.delete(lane)
    const took = clock.mono() - attempt.since
    lane.proven ||= took <= limits.slowMs
    lane.meanMs += NEWEST_WEIGHT * (took - lane.meanMs)
    serveWaiting()
  }

  /** One of each lane in turn, as long as there are seats. */
  function serveWaiting(): void {
    for (let served = true; served; ) {
      served = false
      for (const lane of [...queue]) {
        const [waiter] = lane.waiting
        if (!waiter || !hasRoom(lane)) continue
        stopWaiting(lane, waiter)
        waiter.admit(seat(lane))
        served = true
      }
    }
  }

  function mayWait(lane: Lane): boolean {
    const turnInMs = (lane.waiting.size + 1) * turnMs(lane)
    return (
      !isResting(lane) &&
      turnInMs <= limits.maxWaitMs &&
      lane.waiting.size < limits.waitingPerEndpoint &&
      waitingCount < limits.waitingTotal
    )
  }

  function wait(lane: Lane): Promise<Admission> {
    return new Promise((resolve) => {
      const waiter: Waiter = { admit: resolve, since: clock.mono() }
      lane.waiting.add(waiter)
      queue.add(lane)
      waitingCount += 1
      if (waitingCount === 1 && !watching) void watchWaiting()
    })
  }

  /** One timer for all: a timer for each would cost more than most of them wait. */
  async function watchWaiting(): Promise<void> {
    watching = true
    while (waitingCount > 0) {
      await clock.sleep(limits.maxWaitMs / 4)
      const tooLongSince = clock.mono() - limits.maxWaitMs * 0.75
      for (const lane of [...queue]) {
        for (const waiter of lane.waiting) {
          if (waiter.since > tooLongSince) break
          stopWaiting(lane, waiter)
          waiter.admit(sendAway(lane))
        }
      }
    }
    watching = false
  }

  function stopWaiting(lane: Lane, waiter: Waiter): void {
    if (!lane.waiting.delete(waiter)) return
    waitingCount -= 1
    // Behind the others, so that lanes take turns.
    queue.delete(lane)
    if (lane.waiting.size > 0) queue.add(lane)
  }

  /**
   * Visitors come back one by one, several times as often as seats become free: an endpoint may have become quicker
   * meanwhile, and an idle seat costs more than a visit in vain.
   */
  function sendAway(lane: Lane): Admission {
    const now = clock.mono()
    const visit = Math.max(lane.bookedUntil, now) + Math.max(turnMs(lane) / VISITS_PER_SEAT, MIN_VISIT_EVERY_MS)
    if (visit < now + limits.maxAwayMs) {
      lane.bookedUntil = visit
      return { admitted: false, comeBackInMs: visit - now }
    }
    // Beyond the horizon visits are not counted, only spread.
    return { admitted: false, comeBackInMs: limits.maxAwayMs * (0.5 + 0.5 * random()) }
  }

  /** How often a seat of this endpoint becomes free. */
  function turnMs(lane: Lane): number {
    return expectedMs(lane) / seatsOf(lane)
  }

  /** An endpoint that has not answered for long is as slow as that, even before it has answered once. */
  function expectedMs(lane: Lane): number {
    const [oldest] = lane.inFlight
    return Math.max(lane.meanMs, oldest ? clock.mono() - oldest.since : 0)
  }

  function isResting(lane: Lane): boolean {
    return clock.mono() < lane.restsUntil
  }

  function isSlow(lane: Lane): boolean {
    return !lane.proven || expectedMs(lane) > limits.slowMs
  }
}
