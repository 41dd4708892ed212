import { randomUUID } from 'node:crypto'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js'
import { buildTenant } from '../../../test/support/factories.js'
import { readWhole, statementOf } from '../../../test/support/kept-plan.js'
import type { Database, Queryable } from '../database/database.js'
import { claimJobs } from './job-store.js'

let test: TestDatabase
let db: Database

beforeAll(async () => {
  test = await createTestDatabase()
  db = test.db
})
afterAll(() => test.drop())

/** Blocks that the claim reads, in a transaction that is rolled back. */
async function claimBlocks(limit: number): Promise<number> {
  let blocks = Number.NaN
  const explaining = db.tx(async (tx) => {
    const explained: Queryable = {
      ...tx,
      async query(statement) {
        const [row] = await tx.query<{ 'QUERY PLAN': { Plan: Record<string, number> }[] }>(
          sql`explain (analyze, buffers, format json) ${statement}`,
        )
        const { 'Shared Hit Blocks': hit = 0, 'Shared Read Blocks': read = 0 } = row?.['QUERY PLAN'][0]?.Plan ?? {}
        blocks = hit + read
        return []
      },
    }
    await claimJobs(explained, { kind: 'fan-out', limit, worker: randomUUID(), token: randomUUID(), claimMs: 1_000 })
    throw new Error('roll back')
  })
  await expect(explaining).rejects.toThrow('roll back')
  return blocks
}

describe('a claim', () => {
  it('keeps a plan that reads nothing whole, made while the table is empty', async () => {
    const request = { kind: 'fan-out', limit: 10, worker: randomUUID(), token: randomUUID(), claimMs: 1_000 } as const
    expect(await readWhole(db, await statementOf((to) => claimJobs(to, request)))).toEqual([])
    expect(await readWhole(db, sql`select from job where attempt > ${1}::int`)).not.toEqual([])
  })

  it('reads as little with 100,000 ready jobs as with 100, and with a lane that is 50,000 jobs long', async () => {
    const tenantId = await buildTenant(db)
    const add = (count: number, lane: string | null, state: string) =>
      db.execute(sql`
        insert into job (id, tenant_id, kind, subject_id, lane, state, due_at)
        select uuid_v7(), ${tenantId}, 'fan-out', gen_random_uuid(), ${lane}::text, ${state}, now() - interval '1 minute'
        from generate_series(1, ${count}::int)`)
    await add(100, null, 'ready')
    const few = await claimBlocks(10)
    await add(1, 'a long lane', 'ready')
    await add(50_000, 'a long lane', 'waiting')
    await add(99_900, null, 'ready')
    const many = await claimBlocks(10)
    expect(few).toBeGreaterThan(0)
    // A B-tree that is two levels deeper costs two blocks for each descent; a scan would cost thousands.
    expect(many).toBeLessThan(few * 2)
  })
})
