/** Processes and leases as tests need them: without loops, each step by hand. */
import { randomUUID } from 'node:crypto'
import { sha256 } from '../../../kernel/crypto.js'
import type { Database, DedicatedSession } from '../../database/database.js'
import type { Fence, Incarnation, Resource } from '../lease.js'
import type { LeaseStore } from '../lease-store.port.js'
import { insertProcess, lockIncarnation } from '../process-store.js'

export interface TestProcess {
  readonly holder: Incarnation
  loseLock(): Promise<void>
  regainLock(): Promise<void>
}

/** A process as the lease table sees it: a row, and a lock that the test holds or lets go. */
export async function startTestProcess(db: Database, withLock: boolean): Promise<TestProcess> {
  const holder = randomUUID() as Incarnation
  const lock = sha256(holder).readBigInt64BE()
  let session: DedicatedSession | undefined
  async function regainLock(): Promise<void> {
    session = await db.session(() => {})
    await lockIncarnation(session, lock)
  }
  if (withLock) await regainLock()
  const row = {
    incarnation: holder,
    lock: withLock ? lock : null,
    replica: 'test',
    role: 'test',
    slot: 0,
    version: '0',
  }
  await insertProcess(db, row)
  return {
    holder,
    async loseLock() {
      await session?.release()
    },
    regainLock,
  }
}

/** Takes the lease, from whoever holds it. */
export async function takeNow(store: LeaseStore, resource: Resource, holder: Incarnation): Promise<Fence> {
  const [record] = await store.poll([resource])
  const { epoch: seenEpoch, renewSeq: seenRenewSeq } = record ?? { epoch: 0n, renewSeq: 0n }
  const token = randomUUID()
  const epoch = await store.take({ resource, holder, token, seenEpoch, seenRenewSeq, how: 'free' })
  if (epoch === undefined) throw new Error(`${resource} could not be taken`)
  return { resource, epoch, token }
}
