import sql from 'sql-template-tag'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js'
import { systemClock } from '../../kernel/clock.js'
import type { DependencyReport } from '../../kernel/dependency.js'
import { silentLogger } from '../../kernel/logger.js'
import { createIncarnation } from './incarnation.js'
import { leaseTerms } from './lease.js'
import { createProcessReporter, type ProcessReporterOptions } from './process-report.js'

let database: TestDatabase
const ends: (() => Promise<unknown>)[] = []
beforeAll(async () => {
  database = await createTestDatabase()
})
afterAll(async () => {
  for (const end of ends.reverse()) await end()
  await database?.drop()
})

const redis: DependencyReport = {
  ...{ name: 'redis', status: 'degraded', meanwhile: null, latencyMs: 1, version: '7' },
  problems: [{ code: 'evicting_policy', found: 'It evicts.', action: 'Do not.' }],
}

async function start(overrides: Partial<ProcessReporterOptions> = {}) {
  const { db } = database
  const common = { db, clock: systemClock, random: Math.random, logger: silentLogger }
  const process = createIncarnation({ ...common, replica: 'one', role: 'gateway', slot: 0, version: '1' })
  await process.start()
  const reporter = createProcessReporter({
    ...common,
    incarnation: process.id,
    terms: leaseTerms(4_500),
    builtFor: async () => 12,
    gateway: undefined,
    isDraining: () => false,
    dependencies: () => [redis],
    ...overrides,
  })
  await reporter.start()
  ends.push(async () => {
    await reporter.stop()
    await process.stop()
  })
  const read = async () =>
    (
      await db.query<Record<string, unknown>>(sql`
    select * from process_report where incarnation = ${process.id}`)
    )[0]
  return { process, read }
}

it('says what the process is, at once', async () => {
  const { read } = await start()
  expect(await read()).toMatchObject({
    ...{ built_for: 12, held: null, open: null, capacity: null, draining: false, reported_at: expect.any(Date) },
    dependencies: [{ name: 'redis', status: 'degraded', problems: ['evicting_policy'] }],
  })
})

it('says what has changed, and how far its clock is from that of the database', async () => {
  const counts = { held: 1, open: 0, capacity: 5 }
  const fast = { ...systemClock, now: () => Date.now() + 300_000 }
  let draining = false
  const { read } = await start({ gateway: () => counts, isDraining: () => draining, clock: fast })
  Object.assign(counts, { held: 2, open: 2 })
  draining = true
  await expect.poll(read, { timeout: 20_000 }).toMatchObject({ held: 2, open: 2, capacity: 5, draining: true })
  await expect.poll(async () => Number((await read())?.clock_ahead_ms), { timeout: 20_000 }).toBeGreaterThan(290_000)
})

it('ends with the process', async () => {
  const { process, read } = await start()
  await process.stop()
  expect(await read()).toBeUndefined()
})
