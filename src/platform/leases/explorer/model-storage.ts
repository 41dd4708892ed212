/** The model's PostgreSQL: the real protocol's store in memory, the keys it guards, and the ledger that watches both. */
import type { Fence, Incarnation, Resource } from '../lease.js'
import type { LeaseStore } from '../lease-store.port.js'
import { createLedger, type Ledger } from './ledger.js'
import { createMemoryLeases, type MemoryLeases } from './memory-leases.js'
import type { ModelProcess } from './model-process.js'

/** What is stored of a Signal ratchet. */
export interface VaultState {
  /** Of the pairing. */
  readonly generation: number
  /** The next one to use. */
  readonly counter: number
}

export interface ModelStorage {
  readonly ledger: Ledger
  readonly setLock: MemoryLeases['setLock']
  readonly isCurrent: (fence: Fence) => boolean
  /** The statements below are each one step; `fenced` makes one step of the check and its work. Throws FencedError. */
  fenced<Result>(fence: Fence, work: () => Result): Result
  read(resource: Resource): VaultState
  save(fence: Fence, counter: number): void
  deleteCredentials(fence: Fence): void
  /** The store as one process sees it, over its own network. */
  leasesFor(process: ModelProcess, options: { readonly peek: boolean }): LeaseStore
  /** What this process read just before it took the lease (with `peek`). */
  peeked(holder: Incarnation, resource: Resource): VaultState
}

const FIRST: VaultState = { generation: 0, counter: 0 }

export function createModelStorage(): ModelStorage {
  const store = createMemoryLeases()
  const ledger = createLedger(store)
  const vault = new Map<Resource, VaultState>()
  const peeks = new Map<string, VaultState>()
  const read = (resource: Resource): VaultState => vault.get(resource) ?? FIRST

  return {
    ledger,
    setLock: (holder, lock) => store.setLock(holder, lock),
    isCurrent: (fence) => store.isCurrent(fence),
    fenced: (fence, work) => store.fenced(fence, work),
    read,
    save(fence, counter) {
      const before = read(fence.resource)
      ledger.saved(fence, before.counter, counter)
      vault.set(fence.resource, { ...before, counter })
    },
    deleteCredentials(fence) {
      ledger.deletedCredentials(fence)
      vault.set(fence.resource, { generation: read(fence.resource).generation + 1, counter: 0 })
    },
    leasesFor(process, { peek }) {
      return {
        poll: (resources) => process.call(() => store.poll(resources)),
        async take(request) {
          const { resource, holder, token } = request
          if (peek) peeks.set(`${holder} ${resource}`, await process.call(() => read(resource)))
          return process.call(() => {
            const epoch = store.take(request)
            if (epoch !== undefined) ledger.granted({ resource, epoch, token }, holder)
            return epoch
          })
        },
        renew: (holder, fences) => process.call(() => store.renew(holder, fences)),
        release: (fence) => process.call(() => store.release(fence)),
      }
    },
    peeked: (holder, resource) => peeks.get(`${holder} ${resource}`) ?? FIRST,
  }
}
