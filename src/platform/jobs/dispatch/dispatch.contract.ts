/** What every dispatcher must do. Wake-ups may be lost or doubled in the worst case; these are the ordinary ones. */
import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../../../../test/support/database.js'
import { eventually } from '../../../../test/support/eventually.js'
import { buildTenant } from '../../../../test/support/factories.js'
import { systemClock } from '../../../kernel/clock.js'
import type { TenantId } from '../../../kernel/ids.js'
import { silentLogger } from '../../../kernel/logger.js'
import type { Database } from '../../database/database.js'
import { createJobs } from '../create-jobs.js'
import type { Dispatcher, JobKind, Jobs } from '../jobs.js'

export function dispatchContract(create: (db: Database) => Dispatcher): void {
  describe('a dispatcher', () => {
    let test: TestDatabase
    let tenantId: TenantId
    let jobs: Jobs
    const dispatchers: Dispatcher[] = []

    beforeAll(async () => {
      test = await createTestDatabase()
      tenantId = await buildTenant(test.db)
      jobs = createJobs({
        db: test.db,
        dispatcher: create(test.db),
        incarnation: randomUUID(),
        advisoryLocks: false,
        leadership: { isLeader: () => false },
        clock: systemClock,
        random: Math.random,
        logger: silentLogger,
      })
    })
    afterEach(async () => {
      await Promise.all(dispatchers.splice(0).map((dispatcher) => dispatcher.stop()))
    })
    afterAll(() => test.drop())

    /** Starts one and collects what it tells after its first look around. */
    async function started(): Promise<JobKind[]> {
      const dispatcher = create(test.db)
      dispatchers.push(dispatcher)
      const heard: JobKind[] = []
      dispatcher.onWakeUp((kind) => heard.push(kind))
      await dispatcher.start()
      heard.length = 0
      return heard
    }

    const enqueue = (kind: JobKind) => test.db.tx((tx) => jobs.enqueue(tx, { kind, tenantId, id: randomUUID() }))

    it('tells every listener the kind of a job once it is committed', async () => {
      const [one, other] = [await started(), await started()]
      await enqueue('release-deliveries')
      await eventually(
        () => one.includes('release-deliveries') && other.includes('release-deliveries'),
        'both have heard',
      )
      expect(new Set(one)).toEqual(new Set(['release-deliveries']))
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
      const dispatcher = create(test.db)
      dispatchers.push(dispatcher)
      const heard = new Set<JobKind>()
      dispatcher.onWakeUp((kind) => heard.add(kind))
      await dispatcher.start()
      await eventually(() => heard.has('fan-out') && heard.has('deliver-webhook'), 'all kinds were told')
    })

    it('may be stopped twice, or without a start', async () => {
      const dispatcher = create(test.db)
      await dispatcher.stop()
      await dispatcher.start()
      await dispatcher.stop()
      await dispatcher.stop()
    })
  })
}
