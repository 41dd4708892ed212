import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import { describeWithDebian } from '../../../test/support/describe-with-debian.js'
import { type RedisServer, startRedis } from '../../../test/support/servers/redis.js'
import { systemClock } from '../../kernel/clock.js'
import { createIdGenerator, publicId } from '../../kernel/ids.js'
import { silentLogger } from '../../kernel/logger.js'
import { createIoRedis } from '../redis/ioredis.js'
import type { Redis } from '../redis/redis.js'
import { createMemoryLeaseStore, createMemoryLeases, type MemoryLeases } from './explorer/memory-leases.js'
import { type Incarnation, instanceResource, leaseTerms } from './lease.js'
import { createLeaseKeeper, type LeaseKeeper } from './lease-keeper.js'
import { createRedisMutex } from './redis-mutex.js'

const PATIENCE = { timeout: 20_000, interval: 20 }

describeWithDebian(['redis-server'], 'the mutex in Redis', () => {
  const id = createIdGenerator().next('ins')
  const resource = instanceResource(id)
  const key = `wbot:mutex:{${publicId('ins', id)}}`
  const terms = leaseTerms(2_000)
  const ends: (() => Promise<void>)[] = []
  let server: RedisServer
  let leases: MemoryLeases

  beforeAll(async () => {
    server = await startRedis()
  })
  beforeEach(async () => {
    await server.restart()
    leases = createMemoryLeases()
  })
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end()
  })
  afterAll(() => server.stop())

  it('has the name of the seed, says who holds the number, and goes with the lease', async () => {
    const node = await startNode()
    await held(node)
    expect(await contentOf(key)).toBe(`${node.holder}:${node.keeper.held(resource)?.token}`)
    expect(Number(await server.cli('pttl', key))).toBeGreaterThan(0)
    await node.keeper.stop()
    await expect.poll(() => contentOf(key), PATIENCE).toBe('')
  })

  it('comes back after a flush, and in place of what somebody else wrote, while nothing is lost', async () => {
    const node = await startNode()
    await held(node)
    const mine = await contentOf(key)
    await server.flush()
    await expect.poll(() => contentOf(key), PATIENCE).toBe(mine)
    await server.cli('set', key, 'replica-2')
    await expect.poll(() => contentOf(key), PATIENCE).toBe(mine)
    expect(node.news).toEqual(['taken 1'])
  })

  it('does not end a lease when it is killed, nor when it cannot answer', async () => {
    const node = await startNode()
    await held(node)
    await server.kill()
    const epochSeen = await renewals(3)
    await server.restart()
    process.kill(server.pid, 'SIGSTOP')
    await renewals(3)
    process.kill(server.pid, 'SIGCONT')
    await expect.poll(() => contentOf(key), PATIENCE).toContain(node.holder)
    expect(epochSeen).toBe(1n)
    expect(node.news).toEqual(['taken 1'])
  })

  it('that is held by nobody real does not keep a number from being taken', async () => {
    await server.cli('set', key, 'replica-of-yesterday:token')
    const node = await startNode()
    await held(node)
    await expect.poll(() => contentOf(key), PATIENCE).toContain(node.holder)
  })

  it('that does not answer does not keep a number from being taken', async () => {
    const node = createNode()
    const redis = await node.connect()
    process.kill(server.pid, 'SIGSTOP')
    expect(redis.isReady).toBe(true)
    await node.keeper.start()
    await held(node)
    process.kill(server.pid, 'SIGCONT')
  })

  it('gives a number to one of many, and is overwritten by the winner', async () => {
    const nodes = await Promise.all(Array.from({ length: 5 }, startNode))
    await expect.poll(() => nodes.filter(({ keeper }) => keeper.held(resource)).length, PATIENCE).toBe(1)
    const winner = nodes.find(({ keeper }) => keeper.held(resource))
    await expect.poll(() => contentOf(key), PATIENCE).toBe(`${winner?.holder}:${winner?.keeper.held(resource)?.token}`)
    expect(nodes.flatMap(({ news }) => news)).toEqual(['taken 1'])
  })

  it('of a dead holder does not delay its successor', async () => {
    const dead = randomUUID() as Incarnation
    leases.setLock(dead, 'free')
    leases.poll([resource])
    leases.take({ resource, holder: dead, token: 'old', seenEpoch: 0n, seenRenewSeq: 0n, how: 'free' })
    await server.cli('set', key, `${dead}:old`)
    const { connect } = createNode()
    const mutex = createRedisMutex({ redis: await connect(), terms, clock: systemClock })
    const holder = randomUUID() as Incarnation
    expect(await mutex.claim({ resource, holder, token: 'new', after: null })).toBe(false)
    expect(await mutex.claim({ resource, holder, token: 'new', after: dead })).toBe(true)
    const other = randomUUID() as Incarnation
    expect(await mutex.claim({ resource, holder: other, token: 'newer', after: dead })).toBe(false)
  })

  interface Node {
    readonly holder: Incarnation
    readonly keeper: LeaseKeeper
    readonly news: string[]
    connect(): Promise<Redis>
  }

  function createNode(): Node {
    const holder = randomUUID() as Incarnation
    leases.setLock(holder, 'held')
    const news: string[] = []
    const redis = createIoRedis({ url: server.url, name: 'test', logger: silentLogger, random: Math.random })
    const keeper = createLeaseKeeper({
      ...{ store: createMemoryLeaseStore(leases), holder, terms, clock: systemClock, random: Math.random },
      logger: silentLogger,
      hint: createRedisMutex({ redis, terms, clock: systemClock }),
      wanted: async () => [resource],
      onAcquired: ({ epoch }) => news.push(`taken ${epoch}`),
      onLost: (_lease, reason) => news.push(`lost ${reason}`),
    })
    ends.push(
      () => redis.stop(),
      () => keeper.stop(),
    )
    return { holder, keeper, news, connect }

    async function connect(): Promise<Redis> {
      await redis.start()
      await expect.poll(() => redis.isReady, PATIENCE).toBe(true)
      return redis
    }
  }

  async function startNode(): Promise<Node> {
    const node = createNode()
    await node.connect()
    await node.keeper.start()
    return node
  }

  async function held({ keeper }: Node): Promise<void> {
    await expect.poll(() => keeper.held(resource), PATIENCE).toBeDefined()
  }

  /** Waits for so many renewals; resolves to the epoch then. */
  async function renewals(count: number): Promise<bigint | undefined> {
    const read = () => leases.poll([resource])[0]
    const until = (read()?.renewSeq ?? 0n) + BigInt(count)
    await expect.poll(() => (read()?.renewSeq ?? 0n) >= until, PATIENCE).toBe(true)
    return read()?.epoch
  }

  const contentOf = async (name: string): Promise<string> => (await server.cli('get', name)).trim()
})
