/**
 * What every dispatcher must do, with the relay that feeds it where there is one. Wake-ups may be lost or doubled in the worst
 * case; these are the ordinary ones.
 */
import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../../../../test/support/database.js'
import { eventually } from '../../../../test/support/eventually.js'
import { buildTenant } from '../../../../test/support/factories.js'
import { systemClock } from '../../../kernel/clock.js'
import type { TenantId } from '../../../kernel/ids.js'
import { silentLogger } from '../../../kernel/logger.js'
import type { Database } from '../../database/database.js'
import { createJobs, type JobSystem } from '../create-jobs.js'
import { type Dispatcher, done, type JobKind } from '../jobs.js'

export interface DispatchHarness {
  /** Whom one wake-up reaches. */
  readonly reach: 'one worker' | 'every worker'
  /** What a process has, connected but with the dispatcher not started. */
  open(db: Database): Promise<{ readonly dispatcher: Dispatcher; close(): Promise<void> }>
  /** What feeds it beside the database: one for all processes. Resolves to what ends it. */
  feed?(db: Database): Promise<() => Promise<void>>
  /** Messages that wait while nobody works; taken away by looking. */
  readonly waiting?: () => Promise<readonly unknown[]>
  /** A broker that the test may do this to. */
  readonly broker?: {
    kill(): Promise<void>
    restart(): Promise<void>
    /** All that it held is gone, connections aside. */
    wipe(): Promise<void>
  }
}

export function dispatchContract(harness: DispatchHarness): void {
  describe('a dispatcher', () => {
    let test: TestDatabase
    let tenantId: TenantId
    let jobs: JobSystem
    let stopFeeding: (() => Promise<void>) | undefined
    const closing: (() => Promise<void>)[] = []

    beforeAll(async () => {
      test = await createTestDatabase()
      tenantId = await buildTenant(test.db)
      jobs = systemWith({ start: async () => {}, stop: async () => {}, onWakeUp() {} })
      stopFeeding = await harness.feed?.(test.db)
    })
    afterEach(async () => {
      await Promise.all(closing.splice(0).map((close) => close()))
    })
    afterAll(async () => {
      await stopFeeding?.()
      await test.drop()
    })

    const systemWith = (dispatcher: Dispatcher): JobSystem =>
      createJobs({
        db: test.db,
        dispatcher,
        incarnation: randomUUID(),
        advisoryLocks: false,
        leadership: { isLeader: () => false },
        clock: systemClock,
        random: Math.random,
        logger: silentLogger,
        // Wake-ups alone.
        sweepMs: 3_600_000,
      })

    async function open(): Promise<Dispatcher> {
      const { dispatcher, close } = await harness.open(test.db)
      closing.push(async () => {
        await dispatcher.stop()
        await close()
      })
      return dispatcher
    }

    /** Starts one and collects what it tells after its first look around. */
    async function started(): Promise<JobKind[]> {
      const dispatcher = await open()
      const heard: JobKind[] = []
      dispatcher.onWakeUp((kind) => heard.push(kind))
      await dispatcher.start()
      await eventually(() => heard.includes('fetch-media'), 'it has looked around')
      heard.length = 0
      return heard
    }

    const enqueue = (kind: JobKind) => test.db.tx((tx) => jobs.enqueue(tx, { kind, tenantId, id: randomUUID() }))

    it('tells the kind of a job once it is committed', async () => {
      const [one, other] = [await started(), await started()]
      await enqueue('release-deliveries')
      const heard = [one, other].map((list) => () => list.includes('release-deliveries'))
      await eventually(
        () => (harness.reach === 'every worker' ? heard.every((has) => has()) : heard.some((has) => has())),
        'it was heard of',
      )
    })

    it('tells nothing of a transaction that is rolled back', async () => {
      const heard = await started()
      const failing = test.db.tx(async (tx) => {
        await jobs.enqueue(tx, { kind: 'replay-deliveries', tenantId, id: randomUUID() })
        throw new Error('no')
      })
      await expect(failing).rejects.toThrow('no')
      await enqueue('fan-out')
      await eventually(() => heard.includes('fan-out'), 'the later job was heard of')
      expect(heard).not.toContain('replay-deliveries')
    })

    it('tells all kinds when it starts, since jobs may have come before', async () => {
      const dispatcher = await open()
      const heard = new Set<JobKind>()
      dispatcher.onWakeUp((kind) => heard.add(kind))
      await dispatcher.start()
      await eventually(() => heard.has('fan-out') && heard.has('deliver-webhook'), 'all kinds were told')
    })

    it('lets two workers share the work, each job once', async () => {
      const handled: string[][] = []
      for (const worker of [0, 1]) {
        const system = systemWith(await open())
        handled.push([])
        system.work('fan-out', async ({ id }) => {
          handled[worker]?.push(id)
          return done()
        })
        await system.runner.start()
        closing.push(() => system.runner.stop())
      }
      const enqueued = new Set<string>()
      const wanted = async (): Promise<boolean> => {
        const id = randomUUID()
        await test.db.tx((tx) => jobs.enqueue(tx, { kind: 'fan-out', tenantId, id }))
        enqueued.add(id)
        return handled.every((ids) => ids.some((one) => enqueued.has(one)))
      }
      await eventually(wanted, 'both have worked')
      await eventually(() => [...enqueued].every((id) => handled.flat().includes(id)), 'all is done')
      const ours = handled.flat().filter((id) => enqueued.has(id))
      expect(ours).toHaveLength(enqueued.size)
    })

    it('may be stopped twice, or without a start', async () => {
      const dispatcher = await open()
      await dispatcher.stop()
      await dispatcher.start()
      await dispatcher.stop()
      await dispatcher.stop()
    })

    if (harness.waiting)
      it('carries the names of kinds and nothing else', async () => {
        const found: unknown[] = []
        await eventually(async () => {
          await enqueue('deliver-webhook')
          found.push(...((await harness.waiting?.()) ?? []))
          return found.length > 0
        }, 'a wake-up waits')
        for (const body of found) expect(body).toEqual({ kind: expect.stringMatching(/^[a-z-]+$/) })
      })

    if (harness.broker)
      it('goes on by itself when the broker was lost, and jobs never notice', async () => {
        const heard = await started()
        await harness.broker?.kill()
        await enqueue('fan-out')
        expect(heard).not.toContain('release-deliveries')
        await harness.broker?.restart()
        await eventually(() => heard.includes('fan-out'), 'it has looked around again')
        await heardAnew(heard)
      })

    if (harness.broker)
      it('goes on by itself when all that the broker held was deleted', async () => {
        const heard = await started()
        await harness.broker?.wipe()
        await heardAnew(heard)
      })

    /** Not by looking around: one kind alone, again and again. */
    async function heardAnew(heard: JobKind[]): Promise<void> {
      await eventually(async () => {
        heard.length = 0
        await enqueue('replay-deliveries')
        await new Promise((resolve) => setTimeout(resolve, 50))
        return heard.length > 0 && heard.every((kind) => kind === 'replay-deliveries')
      }, 'wake-ups flow again')
    }
  })
}
