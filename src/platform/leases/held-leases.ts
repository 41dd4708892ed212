/**
 * The leases that this process holds, and until when it may believe so. Knows nothing of storage: the keeper tells it what was
 * taken, renewed or missed.
 */
import type { Clock } from '../../kernel/clock.js'
import type { SetAlarm } from './alarm.js'
import { type Fence, type Lease, LeaseLostError, type LeaseTerms, type LossReason, type Resource } from './lease.js'

export interface HeldLeases {
  readonly size: number
  get(resource: Resource): Lease | undefined
  all(): Lease[]
  /** A take succeeded. `sentAt`: monotonic ms when it was sent. */
  add(fence: Fence, sentAt: number): Lease
  /** A renewal that was sent at `sentAt` succeeded. */
  renewed(lease: Lease, sentAt: number): void
  /** Ends the lease of this fence; false when it is not held (any more). */
  end(fence: Fence, reason: LossReason): boolean
  /** Ends all whose take was sent before `mono`. */
  endOlder(mono: number, reason: LossReason): void
}

export interface HeldLeasesOptions {
  readonly terms: LeaseTerms
  readonly clock: Pick<Clock, 'mono'>
  readonly setAlarm: SetAlarm
  /** Called after the lease's signal was aborted, for every reason but `released`. */
  readonly onLost: (lease: Lease, reason: LossReason) => void
}

interface Held {
  readonly lease: Lease
  readonly ending: AbortController
  readonly takenAt: number
  /** Monotonic ms. */
  trustedUntil: number
  /** Calls the alarm off that rings when the trust may have ended. */
  unguard: () => void
}

export function createHeldLeases({ terms, clock, setAlarm, onLost }: HeldLeasesOptions): HeldLeases {
  const byResource = new Map<Resource, Held>()

  return {
    get size() {
      return byResource.size
    },
    get: (resource) => byResource.get(resource)?.lease,
    all: () => Array.from(byResource.values(), ({ lease }) => lease),
    add,
    renewed(lease, sentAt) {
      const held = find(lease)
      // Counted from the sending: however slow the answer was, others count from before it.
      if (held) held.trustedUntil = Math.max(held.trustedUntil, sentAt + terms.trustMs)
    },
    end,
    endOlder(mono, reason) {
      for (const { lease, takenAt } of [...byResource.values()]) if (takenAt < mono) end(lease, reason)
    },
  }

  function add({ resource, epoch, token }: Fence, sentAt: number): Lease {
    const ending = new AbortController()
    const held: Held = {
      lease: {
        resource,
        epoch,
        token,
        isTrusted: () => byResource.get(resource) === held && clock.mono() < held.trustedUntil - terms.marginMs,
        signal: ending.signal,
      },
      ending,
      takenAt: sentAt,
      trustedUntil: sentAt + terms.trustMs,
      unguard: () => {},
    }
    byResource.set(resource, held)
    guardTrust(held)
    return held.lease
  }

  function end(fence: Fence, reason: LossReason): boolean {
    const held = find(fence)
    if (!held) return false
    byResource.delete(fence.resource)
    held.unguard()
    held.ending.abort(new LeaseLostError(fence.resource, reason))
    if (reason !== 'released') onLost(held.lease, reason)
    return true
  }

  /** The token tells two acquisitions of one resource apart: what an old one learns must not end a new one. */
  function find({ resource, token }: Fence): Held | undefined {
    const held = byResource.get(resource)
    return held?.lease.token === token ? held : undefined
  }

  function guardTrust(held: Held): void {
    const leftMs = held.trustedUntil - clock.mono()
    if (leftMs <= 0) return void end(held.lease, 'trust_expired')
    // At least 1 ms: a remainder that rounds away against the clock would ring at once, for ever.
    held.unguard = setAlarm(Math.max(1, leftMs), () => guardTrust(held))
  }
}
