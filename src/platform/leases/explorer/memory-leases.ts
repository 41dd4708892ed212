/** The lease table in memory, for the explorer and for tests: each call is one atomic step, as each statement is in SQL. */
import { FencedError } from '../fence.js'
import type { Fence, Incarnation, LeaseRecord, Resource } from '../lease.js'
import type { LeaseStore, TakeRequest } from '../lease-store.port.js'

export interface MemoryLeases {
  poll(resources: readonly Resource[]): LeaseRecord[]
  take(request: TakeRequest): bigint | undefined
  renew(holder: Incarnation, fences: readonly Fence[]): Set<Resource>
  release(fence: Fence): void
  /** What a fenced write does: runs `work` in the same step as the check. Throws FencedError. */
  fenced<Result>(fence: Fence, work: () => Result): Result
  isCurrent(fence: Fence): boolean
  /** Stands for the advisory lock of a process: `null` when it never holds one. */
  setLock(holder: Incarnation, lock: 'held' | 'free' | null): void
}

interface Row {
  holder: Incarnation | null
  epoch: bigint
  token: string | null
  renewSeq: bigint
}

export function createMemoryLeases(): MemoryLeases {
  const rows = new Map<Resource, Row>()
  const locks = new Map<Incarnation, 'held' | 'free'>()

  return {
    poll: (resources) => [...new Set(resources)].map(read),
    take({ resource, holder, token, seenEpoch, seenRenewSeq }) {
      const row = rows.get(resource)
      if (!row || row.epoch !== seenEpoch || row.renewSeq !== seenRenewSeq) return undefined
      row.holder = holder
      row.epoch += 1n
      row.token = token
      row.renewSeq += 1n
      return row.epoch
    },
    renew(holder, fences) {
      const ours = fences.filter((fence) => isCurrent(fence) && rowOf(fence.resource).holder === holder)
      for (const { resource } of ours) rowOf(resource).renewSeq += 1n
      return new Set(ours.map(({ resource }) => resource))
    },
    release(fence) {
      if (!isCurrent(fence)) return
      const row = rowOf(fence.resource)
      row.holder = null
      row.token = null
      row.renewSeq += 1n
    },
    fenced(fence, work) {
      if (!isCurrent(fence)) throw new FencedError(fence.resource)
      return work()
    },
    isCurrent,
    setLock(holder, lock) {
      if (lock === null) locks.delete(holder)
      else locks.set(holder, lock)
    },
  }

  function isCurrent({ resource, epoch, token }: Fence): boolean {
    const row = rows.get(resource)
    return row !== undefined && row.epoch === epoch && row.token === token
  }

  function read(resource: Resource): LeaseRecord {
    const { holder, epoch, renewSeq } = rowOf(resource)
    const lock = holder === null ? undefined : locks.get(holder)
    return {
      resource,
      holder,
      epoch,
      renewSeq,
      holderName: holder,
      holderGone: lock === undefined ? null : lock === 'free',
    }
  }

  function rowOf(resource: Resource): Row {
    const existing = rows.get(resource)
    if (existing) return existing
    const row: Row = { holder: null, epoch: 0n, token: null, renewSeq: 0n }
    rows.set(resource, row)
    return row
  }
}

/** The same behind the port. */
export function createMemoryLeaseStore(leases: MemoryLeases): LeaseStore {
  return {
    poll: async (resources) => leases.poll(resources),
    take: async (request) => leases.take(request),
    renew: async (holder, fences) => leases.renew(holder, fences),
    release: async (fence) => leases.release(fence),
  }
}
