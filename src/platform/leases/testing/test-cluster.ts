/** Nodes of one cluster in memory, on one clock, each with a real keeper and a store that a test may break. */
import { randomUUID } from 'node:crypto'
import { silentLogger } from '../../../kernel/logger.js'
import { seededRandom } from '../../../kernel/random.js'
import { createMemoryLeaseStore, createMemoryLeases, type MemoryLeases } from '../explorer/memory-leases.js'
import { type Incarnation, type Lease, type LeaseTerms, leaseTerms, type Resource } from '../lease.js'
import { createLeaseKeeper, type LeaseKeeper, type LeaseKeeperOptions } from '../lease-keeper.js'
import type { LeaseStore } from '../lease-store.port.js'
import { createTestClock, type TestClock } from './test-clock.js'

export const one = 'one' as Resource
export const two = 'two' as Resource

export interface TestNode {
  readonly holder: Incarnation
  readonly keeper: LeaseKeeper
  /** `taken one#1`, `lost one#1 fenced`, `remote one`, `unwanted one`. */
  readonly news: string[]
  /** Of the start: `one`. */
  readonly wanted: Set<Resource>
  /** Its members are replaced by a test to make it slow, silent or failing for this node alone. */
  readonly store: LeaseStore
  held(resource?: Resource): Lease
  kill(): void
}

export interface TestCluster {
  readonly clock: TestClock
  readonly terms: LeaseTerms
  readonly leases: MemoryLeases
  createNode(overrides?: Partial<LeaseKeeperOptions>): TestNode
  startNode(overrides?: Partial<LeaseKeeperOptions>): Promise<TestNode>
  stop(): Promise<void>
}

export function createTestCluster(): TestCluster {
  const clock = createTestClock()
  const terms = leaseTerms(45_000)
  const leases = createMemoryLeases()
  const nodes: TestNode[] = []

  return {
    clock,
    terms,
    leases,
    createNode,
    async startNode(overrides) {
      const node = createNode(overrides)
      await node.keeper.start()
      await clock.pass(0)
      return node
    },
    async stop() {
      for (const { keeper } of nodes) void keeper.stop()
      await clock.pass(60_000)
    },
  }

  function createNode(overrides: Partial<LeaseKeeperOptions> = {}): TestNode {
    const holder = randomUUID() as Incarnation
    const store: LeaseStore = { ...createMemoryLeaseStore(leases) }
    const news: string[] = []
    const wanted = new Set([one])
    leases.setLock(holder, 'held')
    const keeper = createLeaseKeeper({
      store,
      holder,
      terms,
      clock,
      random: seededRandom(1),
      logger: silentLogger,
      wanted: async () => [...wanted],
      onAcquired: (lease) => news.push(`taken ${nameOf(lease)}`),
      onLost: (lease, reason) => news.push(`lost ${nameOf(lease)} ${reason}`),
      onRemote: ({ resource }) => news.push(`remote ${resource}`),
      onUnwanted: (lease) => news.push(`unwanted ${nameOf(lease)}`),
      ...overrides,
    })
    const node = { holder, keeper, news, wanted, store, held, kill }
    nodes.push(node)
    return node

    function held(resource = one): Lease {
      const lease = keeper.held(resource)
      if (!lease) throw new Error(`${resource} is not held`)
      return lease
    }

    function kill(): void {
      leases.setLock(holder, 'free')
      silence(store)
    }
  }
}

export const never = (): Promise<never> => new Promise(() => {})

/** From now on nothing reaches PostgreSQL and nothing comes back. */
export function silence(store: LeaseStore): void {
  Object.assign(store, { poll: never, take: never, renew: never, release: never })
}

const nameOf = ({ resource, epoch }: Lease): string => `${resource}#${epoch}`
