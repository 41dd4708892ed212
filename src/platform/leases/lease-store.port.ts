/** What the lease protocol needs from storage; `lease-store.ts` is the one in PostgreSQL, the explorer has one in memory. */
import type { Fence, Incarnation, LeaseRecord, ReleaseReason, Resource, TakeHow } from './lease.js'

export interface TakeRequest {
  readonly resource: Resource
  readonly holder: Incarnation
  /** Random per acquisition: tells two acquisitions apart even where a failover lost the newest epoch. */
  readonly token: string
  /** What the taker observed; the take fails if anything moved since. */
  readonly seenEpoch: bigint
  readonly seenRenewSeq: bigint
  /** For the history. */
  readonly how: TakeHow
}

export interface LeaseStore {
  /** Reads the records of these resources, creating the missing ones as free. */
  poll(resources: readonly Resource[]): Promise<LeaseRecord[]>
  /** Compare-and-swap on what was observed. Resolves to the new epoch, or undefined when somebody else moved first. */
  take(request: TakeRequest): Promise<bigint | undefined>
  /** Renews all in one statement; resolves to the resources that are still ours. Those missing are lost. */
  renew(holder: Incarnation, fences: readonly Fence[]): Promise<Set<Resource>>
  /** Frees the lease if it is still ours, and tells the others (NOTIFY `mirante_lease`). */
  release(fence: Fence, why: ReleaseReason): Promise<void>
}
