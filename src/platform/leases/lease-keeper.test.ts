import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { MemoryLeases } from './explorer/memory-leases.js'
import type { LeaseTerms } from './lease.js'
import type { TestClock } from './testing/test-clock.js'
import { createTestCluster, one, silence, type TestCluster, two } from './testing/test-cluster.js'

let cluster: TestCluster
let clock: TestClock
let terms: LeaseTerms
let leases: MemoryLeases

beforeEach(() => {
  cluster = createTestCluster()
  ;({ clock, terms, leases } = cluster)
})
afterEach(() => cluster.stop())

describe('taking', () => {
  it('takes what is wanted and free at once, and keeps it', async () => {
    const node = await cluster.startNode()
    expect(node.news).toEqual(['taken one#1'])
    await clock.pass(10 * 60_000)
    expect(node.news).toEqual(['taken one#1'])
    expect(node.held().isTrusted()).toBe(true)
  })

  it('leaves a living holder alone and says so once', async () => {
    const holder = await cluster.startNode()
    const other = await cluster.startNode()
    await clock.pass(10 * 60_000)
    expect(other.news).toEqual(['remote one'])
    expect(holder.news).toEqual(['taken one#1'])
  })

  it('gives way to a hint once, and takes at the next poll whatever the hint says', async () => {
    let claims = 0
    const claim = async () => ++claims > 100
    const node = await cluster.startNode({ hint: { claim, keep() {}, drop() {} } })
    expect(node.news).toEqual([])
    await clock.pass(terms.pollEveryMs + terms.pollJitterMs)
    expect(node.news).toEqual(['taken one#1'])
    expect(claims).toBe(1)
  })

  it('gives way for less than a poll', async () => {
    const node = await cluster.startNode({ hint: { claim: async () => false, keep() {}, drop() {} } })
    await clock.pass(terms.pollEveryMs / 4)
    expect(node.news).toEqual(['taken one#1'])
  })

  it('takes from a dead process after two polls, without waiting for the TTL', async () => {
    const dead = await cluster.startNode()
    const other = await cluster.startNode()
    dead.kill()
    await clock.pass(2 * (terms.pollEveryMs + terms.pollJitterMs))
    expect(other.news).toEqual(['remote one', 'taken one#2'])
  })

  it('leaves a holder alone whose lock was free for a moment, however often it is poked then', async () => {
    const holder = await cluster.startNode()
    const other = await cluster.startNode()
    leases.setLock(holder.holder, 'free')
    for (let poke = 0; poke < 10; poke++) {
      other.keeper.poke()
      await clock.pass(100)
    }
    leases.setLock(holder.holder, 'held')
    await clock.pass(60_000)
    expect(other.news).toEqual(['remote one'])
  })

  it('takes from a frozen process after the TTL, and not before', async () => {
    const frozen = await cluster.startNode()
    const other = await cluster.startNode()
    silence(frozen.store)
    await clock.pass(terms.ttlMs - 1_000)
    expect(other.news).toEqual(['remote one'])
    await clock.pass(2 * terms.pollEveryMs)
    expect(other.news).toEqual(['remote one', 'taken one#2'])
    expect(frozen.news).toEqual(['taken one#1', 'lost one#1 trust_expired'])
  })

  it('tells anew of a holder that has released and taken again', async () => {
    const holder = await cluster.startNode()
    const other = await cluster.startNode({ mayAcquire: () => false })
    await holder.keeper.release(one, 'balanced')
    other.keeper.poke()
    await clock.pass(100)
    expect(other.news).toEqual(['remote one'])
    holder.keeper.poke()
    await clock.pass(2 * terms.pollEveryMs)
    expect(holder.news).toEqual(['taken one#1', 'taken one#2'])
    expect(other.news).toEqual(['remote one', 'remote one'])
  })

  it('takes what another has released at the next poll, or at once when poked', async () => {
    const first = await cluster.startNode()
    const second = await cluster.startNode()
    first.wanted.clear()
    await first.keeper.release(one, 'stopped')
    second.keeper.poke()
    await clock.pass(100)
    expect(second.news).toEqual(['remote one', 'taken one#2'])
  })

  it('has one winner when many want the same', async () => {
    const nodes = Array.from({ length: 10 }, () => cluster.createNode())
    for (const { keeper } of nodes) void keeper.start()
    await clock.pass(1_000)
    expect(nodes.flatMap(({ news }) => news.filter((line) => line.startsWith('taken')))).toEqual(['taken one#1'])
  })

  it('asks whether there is room', async () => {
    let room = false
    const node = await cluster.startNode({ mayAcquire: () => room })
    await clock.pass(60_000)
    expect(node.news).toEqual([])
    room = true
    node.keeper.poke()
    await clock.pass(100)
    expect(node.news).toEqual(['taken one#1'])
  })

  it('takes again a lease whose answer was lost', async () => {
    const node = cluster.createNode()
    const { take } = node.store
    node.store.take = async (request) => {
      await take(request)
      node.store.take = take
      throw new Error('connection lost')
    }
    await node.keeper.start()
    await clock.pass(2 * terms.pollEveryMs)
    expect(node.news).toEqual(['taken one#2'])
  })

  it('does not act on a take whose answer came after the process had stood still', async () => {
    const node = cluster.createNode()
    const { take } = node.store
    node.store.take = async (request) => {
      const epoch = await take(request)
      node.store.take = take
      void clock.stall(terms.trustMs)
      return epoch
    }
    await node.keeper.start()
    await clock.pass(1_000)
    expect(node.news).not.toContain('taken one#1')
    await clock.pass(2 * terms.pollEveryMs)
    expect(node.news).toContain('taken one#2')
  })

  it('acquires one resource on request', async () => {
    const holder = await cluster.startNode()
    const other = cluster.createNode()
    expect(await other.keeper.acquire(one)).toBeUndefined()
    expect(await other.keeper.acquire(two)).toMatchObject({ resource: two, epoch: 1n })
    expect(await holder.keeper.acquire(one)).toBe(holder.keeper.held(one))
  })

  it('polls many pokes together', async () => {
    let polls = 0
    const node = await cluster.startNode({ wanted: async () => [one].slice(0, ++polls) })
    for (let poke = 0; poke < 1_000; poke++) {
      node.keeper.poke()
      await clock.pass(1)
    }
    expect(polls).toBeLessThan(25)
  })

  it('says at each poll what it holds and should not, and takes it not again once released', async () => {
    const node = await cluster.startNode()
    node.wanted.clear()
    node.keeper.poke()
    await clock.pass(100)
    expect(node.news).toEqual(['taken one#1', 'unwanted one#1'])
    await node.keeper.release(one, 'unwanted')
    await clock.pass(60_000)
    expect(node.news).toHaveLength(2)
  })

  it('keeps what it holds while it cannot ask what is wanted', async () => {
    const node = await cluster.startNode()
    const wanted = node.wanted
    wanted[Symbol.iterator] = () => {
      throw new Error('database unavailable')
    }
    await clock.pass(5 * 60_000)
    expect(node.news).toEqual(['taken one#1'])
  })
})

describe('stopping', () => {
  it('releases everything, so that another takes it without a wait', async () => {
    const node = await cluster.startNode()
    const lease = node.held()
    await node.keeper.stop()
    await node.keeper.stop()
    expect(lease.signal.reason).toMatchObject({ reason: 'released' })
    expect(node.news).toEqual(['taken one#1'])
    const other = await cluster.startNode()
    expect(other.news).toEqual(['taken one#2'])
  })

  it('is safe before the start, and starts nothing afterwards', async () => {
    const node = cluster.createNode()
    await node.keeper.stop()
    await node.keeper.start()
    await clock.pass(60_000)
    expect(node.news).toEqual([])
    expect(await node.keeper.acquire(one)).toBeUndefined()
  })

  it('frees a lease that was being taken', async () => {
    const node = cluster.createNode()
    const { take } = node.store
    node.store.take = async (request) => {
      await clock.sleep(100)
      return take(request)
    }
    await node.keeper.start()
    await clock.pass(0)
    const stopped = node.keeper.stop()
    await clock.pass(200)
    await stopped
    expect(leases.poll([one])).toMatchObject([{ holder: null, epoch: 1n }])
    expect(node.news).toEqual([])
  })

  it('does not hang when the database is gone', async () => {
    const node = await cluster.startNode()
    silence(node.store)
    let stopped = false
    void node.keeper.stop().then(() => {
      stopped = true
    })
    await clock.pass(terms.renewTimeoutMs + terms.pollTimeoutMs)
    expect(stopped).toBe(true)
  })
})
