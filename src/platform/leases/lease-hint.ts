/**
 * A hint about who holds or is taking a lease, kept in a place that is quicker to ask than PostgreSQL and may lie, forget or be
 * gone. It decides nothing: it only spares some attempts that would be refused, and shows people who holds what.
 */
import type { Fence, Incarnation, Resource } from './lease.js'

export interface Claim {
  readonly resource: Resource
  readonly holder: Incarnation
  readonly token: string
  /** The holder whose place is to be taken; null: the lease was free. */
  readonly after: Incarnation | null
}

export interface LeaseHint {
  /**
   * Says that this process is about to take the lease. False: another one said so before, and the attempt may wait for a
   * moment, once. Answers within a moment and never rejects.
   */
  claim(claim: Claim): Promise<boolean>
  /** PostgreSQL has these leases as ours: whatever else the hint says is wrong. */
  keep(holder: Incarnation, fences: readonly Fence[]): void
  /** Not ours, or ours no longer. */
  drop(holder: Incarnation, fence: Pick<Fence, 'resource' | 'token'>): void
}
