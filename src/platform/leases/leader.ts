/**
 * One process of a role leads: it alone runs what must run once (schedules, sweeps). The same protocol as for instances, on
 * one resource. As with every lease, a leader may believe in itself a moment too long: what it writes carries the fence.
 */
import type { Service } from '../../kernel/service.js'
import { type Lease, type LossReason, type Resource, schedulerResource } from './lease.js'
import { createLeaseKeeper, type LeaseKeeperOptions } from './lease-keeper.js'

export interface LeadershipOptions
  extends Pick<LeaseKeeperOptions, 'store' | 'holder' | 'terms' | 'clock' | 'random' | 'logger'> {
  /** Default: `scheduler`. */
  readonly resource?: Resource
  /** Must not throw, and is not awaited. The lease's signal says when the term is over. */
  readonly onElected?: (lease: Lease) => void
  readonly onDeposed?: (reason: LossReason) => void
}

export interface Leadership extends Service {
  /** Whether new work may begin. */
  isLeader(): boolean
  /** The lease of the current term, to fence what the leader writes. */
  lease(): Lease | undefined
  /** Looks now whether the place is free (NOTIFY `mirante_lease`). */
  poke(): void
}

export function createLeadership(options: LeadershipOptions): Leadership {
  const { resource = schedulerResource, onElected, onDeposed, ...rest } = options
  const keeper = createLeaseKeeper({
    ...rest,
    wanted: async () => [resource],
    ...(onElected ? { onAcquired: onElected } : {}),
    ...(onDeposed ? { onLost: (_lease, reason) => onDeposed(reason) } : {}),
  })
  return {
    start: () => keeper.start(),
    stop: () => keeper.stop(),
    poke: () => keeper.poke(),
    isLeader: () => keeper.held(resource)?.isTrusted() ?? false,
    lease: () => keeper.held(resource),
  }
}
