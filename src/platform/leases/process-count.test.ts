import { afterAll, beforeAll, expect, it } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js'
import { systemClock } from '../../kernel/clock.js'
import { silentLogger } from '../../kernel/logger.js'
import { createIncarnation } from './incarnation.js'
import { createProcessCount } from './process-count.js'

let database: TestDatabase
beforeAll(async () => {
  database = await createTestDatabase()
})
afterAll(() => database.drop())

it('counts the living of a role, and no longer those that have gone', async () => {
  const { db } = database
  let now = 0
  const living = createProcessCount({ db, role: 'web', clock: { mono: () => now } })
  const count = () => {
    now += 60_000
    living()
    return living()
  }
  const start = async (role: string, replica: string) => {
    const options = { db, replica, role, slot: 0, version: '1', clock: systemClock, random: Math.random }
    const incarnation = createIncarnation({ ...options, logger: silentLogger })
    await incarnation.start()
    return incarnation
  }
  expect(living()).toBe(1)
  const all = [await start('web', 'a'), await start('web', 'b'), await start('gateway', 'a')]
  await expect.poll(count, { timeout: 20_000 }).toBe(2)
  await all[0]?.stop()
  await expect.poll(count, { timeout: 20_000 }).toBe(1)
  for (const incarnation of all) await incarnation.stop()
})
