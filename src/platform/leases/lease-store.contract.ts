/** What every lease store does, whatever holds its rows. */
import { randomUUID } from 'node:crypto'
import { beforeAll, describe, expect, it } from 'vitest'
import { FencedError } from './fence.js'
import type { Fence, Incarnation, LeaseRecord, Resource } from './lease.js'
import type { LeaseStore } from './lease-store.port.js'
import { type TestProcess, takeNow } from './testing/test-process.js'

export interface LeaseStoreSubject {
  readonly store: LeaseStore
  /** A process that holds its advisory lock, or, with `lock: false`, one that never has one. */
  startProcess(options?: { readonly lock: boolean }): Promise<TestProcess>
  /** Writes a value under the fence. Rejects with FencedError. */
  write(fence: Fence, value: string): Promise<void>
  /** What was last written for the resource. */
  read(resource: Resource): Promise<string | undefined>
}

export function leaseStoreContract(create: () => Promise<LeaseStoreSubject>): void {
  let subject: LeaseStoreSubject
  let store: LeaseStore
  let resourceCount = 0

  beforeAll(async () => {
    subject = await create()
    store = subject.store
  })

  const newResource = (): Resource => `test:${++resourceCount}` as Resource
  const start = async (): Promise<Incarnation> => (await subject.startProcess()).holder

  async function look(resource: Resource): Promise<LeaseRecord> {
    const [record] = await store.poll([resource])
    if (!record) return expect.fail(`no record of ${resource}`)
    return record
  }

  async function tryTake(seen: LeaseRecord, holder: Incarnation): Promise<Fence | undefined> {
    const { resource, epoch: seenEpoch, renewSeq: seenRenewSeq } = seen
    const token = randomUUID()
    const epoch = await store.take({ resource, holder, token, seenEpoch, seenRenewSeq, how: 'free' })
    return epoch === undefined ? undefined : { resource, epoch, token }
  }

  const take = (resource: Resource, holder: Incarnation): Promise<Fence> => takeNow(store, resource, holder)

  describe('poll', () => {
    it('creates missing records as free, once', async () => {
      const resource = newResource()
      const free = { resource, holder: null, epoch: 0n, renewSeq: 0n, holderName: null, holderGone: null }
      expect(await store.poll([resource])).toEqual([free])
      expect(await store.poll([resource, resource])).toEqual([free])
    })

    it('answers every one of many who look at a new resource at once', async () => {
      const resources = [newResource(), newResource(), newResource()]
      const answers = await Promise.all(Array.from({ length: 20 }, () => store.poll([...resources].reverse())))
      for (const answer of answers) expect(answer.map(({ resource }) => resource).sort()).toEqual(resources)
    })

    it('answers nothing when asked for nothing', async () => {
      expect(await store.poll([])).toEqual([])
    })

    it('tells whether the holder has gone by its advisory lock', async () => {
      const process = await subject.startProcess()
      const resource = newResource()
      await take(resource, process.holder)
      expect(await look(resource)).toMatchObject({ holder: process.holder, holderGone: false })
      await process.loseLock()
      expect(await look(resource)).toMatchObject({ holder: process.holder, holderGone: true })
      await process.regainLock()
      expect(await look(resource)).toMatchObject({ holder: process.holder, holderGone: false })
    })

    it('does not take a holder without a lock for gone', async () => {
      const { holder } = await subject.startProcess({ lock: false })
      const resource = newResource()
      await take(resource, holder)
      expect(await look(resource)).toMatchObject({ holder, holderGone: null })
    })
  })

  describe('take', () => {
    it('gives a new epoch each time', async () => {
      const [first, second] = [await start(), await start()]
      const resource = newResource()
      expect((await take(resource, first)).epoch).toBe(1n)
      expect((await take(resource, second)).epoch).toBe(2n)
      expect(await look(resource)).toMatchObject({ holder: second, epoch: 2n })
    })

    it('fails when the record was renewed since it was seen', async () => {
      const [holder, other] = [await start(), await start()]
      const resource = newResource()
      const fence = await take(resource, holder)
      const seen = await look(resource)
      await store.renew(holder, [fence])
      expect(await tryTake(seen, other)).toBeUndefined()
    })

    it('has exactly one winner per epoch, however many try', async () => {
      const takers = await Promise.all(
        // Without the session that a lock would take of the server.
        Array.from({ length: 100 }, async () => (await subject.startProcess({ lock: false })).holder),
      )
      const resource = newResource()
      for (let round = 1n; round <= 10n; round++) {
        const seen = await look(resource)
        const fences = await Promise.all(takers.map((holder) => tryTake(seen, holder)))
        expect(fences.filter(Boolean).map((fence) => fence?.epoch)).toEqual([round])
      }
    })
  })

  describe('renew', () => {
    it('renews all that are ours in one call, and names no other', async () => {
      const [holder, other] = [await start(), await start()]
      const [kept, lost, free] = [newResource(), newResource(), newResource()]
      const fences = [await take(kept, holder), await take(lost, holder), await take(free, holder)]
      await take(lost, other)
      await store.release(fences[2] as Fence, 'unwanted')
      const before = await look(kept)
      expect(await store.renew(holder, fences)).toEqual(new Set([kept]))
      expect((await look(kept)).renewSeq).toBe(before.renewSeq + 1n)
    })

    it('does not renew under an old token, nor for another holder', async () => {
      const [holder, other] = [await start(), await start()]
      const resource = newResource()
      const old = await take(resource, holder)
      const fence = await take(resource, holder)
      expect(await store.renew(holder, [{ ...old, epoch: fence.epoch }])).toEqual(new Set())
      expect(await store.renew(other, [fence])).toEqual(new Set())
      expect(await store.renew(holder, [fence])).toEqual(new Set([resource]))
    })
  })

  describe('release', () => {
    it('frees the lease and keeps its epoch', async () => {
      const holder = await start()
      const resource = newResource()
      await store.release(await take(resource, holder), 'stopped')
      expect(await look(resource)).toMatchObject({ holder: null, epoch: 1n, holderGone: null })
    })

    it('does nothing to a lease that somebody else holds by now', async () => {
      const [holder, other] = [await start(), await start()]
      const resource = newResource()
      const old = await take(resource, holder)
      await take(resource, other)
      await store.release(old, 'stopped')
      expect(await look(resource)).toMatchObject({ holder: other, epoch: 2n })
    })
  })

  describe('the fence', () => {
    it('lets the holder write, and no holder before it', async () => {
      const [holder, other] = [await start(), await start()]
      const resource = newResource()
      const old = await take(resource, holder)
      await subject.write(old, 'first')
      const current = await take(resource, other)
      await expect(subject.write(old, 'zombie')).rejects.toThrow(FencedError)
      await subject.write(current, 'second')
      expect(await subject.read(resource)).toBe('second')
    })

    it('refuses the holder that has released', async () => {
      const resource = newResource()
      const fence = await take(resource, await start())
      await store.release(fence, 'stopped')
      await expect(subject.write(fence, 'late')).rejects.toThrow(FencedError)
    })

    it('refuses an epoch that comes again with another token, as after a failover that lost the newest', async () => {
      const resource = newResource()
      const fence = await take(resource, await start())
      await expect(subject.write({ ...fence, token: randomUUID() }, 'lost branch')).rejects.toThrow(FencedError)
      expect(await subject.read(resource)).toBeUndefined()
    })
  })
}
