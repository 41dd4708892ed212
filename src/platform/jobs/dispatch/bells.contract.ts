/** What the bells of instances must do, whatever carries them. */
import { randomUUID } from 'node:crypto'
import sql from 'sql-template-tag'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../../../../test/support/database.js'
import { eventually } from '../../../../test/support/eventually.js'
import type { InstanceId } from '../../../kernel/ids.js'
import type { Database } from '../../database/database.js'
import type { InstanceBells } from '../bells.js'

export interface BellsHarness {
  readonly reach: 'the holder' | 'every process'
  /** What the process with this incarnation has, connected but not started. */
  open(db: Database, holder: string): Promise<{ readonly bells: InstanceBells; close(): Promise<void> }>
  feed?(db: Database): Promise<() => Promise<void>>
}

export function bellsContract(harness: BellsHarness): void {
  describe('the bells of instances', () => {
    let test: TestDatabase
    let stopFeeding: (() => Promise<void>) | undefined
    const closing: (() => Promise<void>)[] = []

    beforeAll(async () => {
      test = await createTestDatabase()
      stopFeeding = await harness.feed?.(test.db)
    })
    afterEach(async () => {
      await Promise.all(closing.splice(0).map((close) => close()))
    })
    afterAll(async () => {
      await stopFeeding?.()
      await test.drop()
    })

    async function process() {
      const holder = randomUUID()
      const rung: string[] = []
      let looks = 0
      const { bells, close } = await harness.open(test.db, holder)
      bells.onRing(
        (id) => rung.push(id),
        () => {
          looks += 1
        },
      )
      closing.push(async () => {
        await bells.stop()
        await close()
      })
      await bells.start()
      await eventually(() => looks > 0, 'it has looked around')
      return { holder, rung, bells }
    }

    async function instanceHeldBy(holder: string | null): Promise<InstanceId> {
      const id = randomUUID() as InstanceId
      await test.db.execute(sql`
        insert into lease (resource, holder, epoch, token) values (${`instance:${id}`}, ${holder}::uuid, 1, gen_random_uuid())`)
      return id
    }

    /** As the trigger does when messages are accepted. */
    const ring = (id: InstanceId) => test.db.execute(sql`select pg_notify('mirante_outbound', ${id})`)

    /** The relay may just be connecting: what it missed, the sender's poll would find. */
    async function ringUntil(id: InstanceId, rung: readonly string[]): Promise<void> {
      await eventually(async () => {
        await ring(id)
        await new Promise((resolve) => setTimeout(resolve, 50))
        return rung.includes(id)
      }, 'the bell was heard')
    }

    it('rings the process that holds the instance', async () => {
      const [one, other] = [await process(), await process()]
      const id = await instanceHeldBy(one.holder)
      await ringUntil(id, one.rung)
      if (harness.reach === 'every process') return
      const another = await instanceHeldBy(other.holder)
      await ringUntil(another, other.rung)
      expect(other.rung).not.toContain(id)
      expect(one.rung).not.toContain(another)
    })

    it('follows an instance that has moved', async () => {
      const [one, other] = [await process(), await process()]
      const id = await instanceHeldBy(one.holder)
      await ringUntil(id, one.rung)
      await test.db.execute(sql`
        update lease set holder = ${other.holder}::uuid, epoch = 2 where resource = ${`instance:${id}`}`)
      await ringUntil(id, other.rung)
    })

    it('takes a bell for nobody, and for a process that is gone', async () => {
      const one = await process()
      await ring(await instanceHeldBy(null))
      await ring(await instanceHeldBy(randomUUID()))
      await ring(randomUUID() as InstanceId)
      await ringUntil(await instanceHeldBy(one.holder), one.rung)
    })

    it('may be stopped twice, or without a start', async () => {
      const { bells } = await harness.open(test.db, randomUUID())
      bells.onRing(
        () => {},
        () => {},
      )
      await bells.stop()
      await bells.start()
      await bells.stop()
      await bells.stop()
    })
  })
}
