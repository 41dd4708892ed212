import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createMemoryLeaseStore, type MemoryLeases } from './explorer/memory-leases.js'
import { type Incarnation, LeaseLostError, type LeaseTerms } from './lease.js'
import type { TestClock } from './testing/test-clock.js'
import { createTestCluster, never, one, type TestCluster, two } from './testing/test-cluster.js'
import { takeNow } from './testing/test-process.js'

let cluster: TestCluster
let clock: TestClock
let terms: LeaseTerms
let leases: MemoryLeases

beforeEach(() => {
  cluster = createTestCluster()
  ;({ clock, terms, leases } = cluster)
})
afterEach(() => cluster.stop())

describe('trust', () => {
  it('ends a margin before the signal, both counted from the sending of the last renewal', async () => {
    const node = await cluster.startNode()
    const lease = node.held()
    await clock.pass(60_000)
    const { renew } = node.store
    const sent: number[] = []
    node.store.renew = (holder, fences) => {
      sent.push(clock.mono())
      return renew(holder, fences)
    }
    while (sent.length === 0) await clock.pass(100)
    node.store.renew = never
    const trustEnd = (sent[0] ?? 0) + terms.trustMs
    await clock.pass(trustEnd - terms.marginMs - 1 - clock.mono())
    expect(lease.isTrusted()).toBe(true)
    await clock.pass(1)
    expect(lease.isTrusted()).toBe(false)
    expect(lease.signal.aborted).toBe(false)
    await clock.pass(terms.marginMs)
    expect(lease.signal.aborted).toBe(true)
    expect(lease.signal.reason).toBeInstanceOf(LeaseLostError)
    expect(lease.signal.reason).toMatchObject({ resource: one, reason: 'trust_expired' })
  })

  it('is not extended beyond that by renewals that succeed slowly', async () => {
    const node = await cluster.startNode()
    const lease = node.held()
    const { renew } = node.store
    node.store.renew = async (holder, fences) => {
      const ours = await renew(holder, fences)
      await clock.sleep(terms.renewTimeoutMs + 1)
      return ours
    }
    await clock.pass(terms.trustMs)
    expect(lease.signal.reason).toMatchObject({ reason: 'trust_expired' })
  })

  it('outlives a few failed renewals, which are tried again sooner', async () => {
    const node = await cluster.startNode()
    const { renew } = node.store
    node.store.renew = async () => {
      throw new Error('connection refused')
    }
    await clock.pass(terms.trustMs - 2 * terms.renewTimeoutMs)
    node.store.renew = renew
    await clock.pass(60_000)
    expect(node.news).toEqual(['taken one#1'])
  })

  it('ends when the process has stood still for too long, whatever renewals say', async () => {
    const node = await cluster.startNode()
    const lease = node.held()
    await clock.stall(terms.renewEveryMs + terms.maxLagMs + 1)
    expect(lease.signal.reason).toMatchObject({ reason: 'stalled' })
    await clock.pass(2 * terms.pollEveryMs)
    expect(node.news).toEqual(['taken one#1', 'lost one#1 stalled', 'taken one#2'])
  })

  it('survives short stalls', async () => {
    const node = await cluster.startNode()
    await clock.stall(terms.maxLagMs - 1_000)
    await clock.pass(60_000)
    expect(node.news).toEqual(['taken one#1'])
  })

  it('does not depend on the wall clock', async () => {
    const jumping = { ...clock, now: () => Math.random() * 1e13 }
    const node = await cluster.startNode({ clock: jumping })
    const other = await cluster.startNode({ clock: jumping })
    await clock.pass(10 * 60_000)
    expect([node.news, other.news]).toEqual([['taken one#1'], ['remote one']])
  })
})

describe('losing', () => {
  it('notices a takeover at the next renewal, and loses only what was taken', async () => {
    const node = cluster.createNode()
    node.wanted.add(two)
    await node.keeper.start()
    await clock.pass(0)
    const lost = node.held(one)
    const kept = node.held(two)
    await takeNow(createMemoryLeaseStore(leases), one, 'thief' as Incarnation)
    await clock.pass(terms.renewEveryMs)
    expect(lost.signal.reason).toMatchObject({ reason: 'taken' })
    expect(lost.isTrusted()).toBe(false)
    expect(kept.isTrusted()).toBe(true)
  })

  it('forfeits at once when a write was fenced, once, and takes anew under the next epoch', async () => {
    const node = await cluster.startNode()
    const lease = node.held()
    node.keeper.forfeit(lease, 'uncertain_write')
    node.keeper.forfeit(lease, 'fenced')
    expect(lease.signal.reason).toMatchObject({ reason: 'uncertain_write' })
    await clock.pass(2 * terms.pollEveryMs)
    node.keeper.forfeit(lease, 'fenced')
    expect(node.news).toEqual(['taken one#1', 'lost one#1 uncertain_write', 'taken one#2'])
    expect(node.held().isTrusted()).toBe(true)
  })

  it('ignores a renewal that answers for a lease taken anew meanwhile', async () => {
    const node = await cluster.startNode()
    const { renew } = node.store
    let answer: () => void = () => {}
    node.store.renew = async (holder, fences) => {
      node.store.renew = renew
      await new Promise<void>((resolve) => {
        answer = resolve
      })
      return renew(holder, fences)
    }
    await clock.pass(terms.renewEveryMs)
    node.keeper.forfeit(node.held(), 'uncertain_write')
    node.keeper.poke()
    await clock.pass(100)
    answer()
    await clock.pass(60_000)
    expect(node.news).toEqual(['taken one#1', 'lost one#1 uncertain_write', 'taken one#2'])
  })
})
