import sql from 'sql-template-tag'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js'
import { buildTenant } from '../../../test/support/factories.js'
import type { DeliveryId } from '../../kernel/ids.js'
import type { Queryable } from '../../platform/database/database.js'
import { loadParcels } from './delivery-store.js'

const KEYS = 40

let test: TestDatabase
beforeAll(async () => {
  test = await createTestDatabase()
})
afterAll(() => test.drop())

/** Blocks that the statement reads. */
async function blocksOf(work: (db: Queryable) => Promise<unknown>): Promise<number> {
  let blocks = Number.NaN
  await work({
    ...test.db,
    async query(statement) {
      const [row] = await test.db.query<{ 'QUERY PLAN': { Plan: Record<string, number> }[] }>(
        sql`explain (analyze, buffers, format json) ${statement}`,
      )
      const { 'Shared Hit Blocks': hit = 0, 'Shared Read Blocks': read = 0 } = row?.['QUERY PLAN'][0]?.Plan ?? {}
      blocks = hit + read
      return []
    },
  })
  return blocks
}

it('what is loaded for a try is read row by row, also in the first burst, which statistics know nothing of', async () => {
  const { db } = test
  const tenantId = await buildTenant(db)
  await db.execute(sql`
    insert into webhook_endpoint (id, tenant_id, url, secret_sealed)
    select uuid_v7(), ${tenantId}, 'https://example.com', '' from generate_series(1, 6)`)
  await db.execute(sql`
    with event_row as (
      insert into event (id, tenant_id, seq, type)
      select uuid_v7(), ${tenantId}, n, 'message.received' from generate_series(1, 200) n returning id
    )
    insert into delivery (id, tenant_id, endpoint_id, event_id)
    select uuid_v7(), ${tenantId}, w.id, e.id from event_row e cross join webhook_endpoint w`)
  const newest = await db.query<{ id: DeliveryId }>(sql`select id from delivery order by id desc limit ${KEYS}`)
  const keys = newest.map(({ id }) => ({ tenantId, deliveryId: id }))

  const blocks = await blocksOf((explained) => loadParcels(explained, keys))
  expect(blocks).toBeGreaterThan(0)
  // About a dozen for each key; all deliveries of the endpoints would be thousands.
  expect(blocks).toBeLessThan(KEYS * 20)
})
