import { randomBytes } from 'node:crypto'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js'
import { buildInstance, buildTenant } from '../../../test/support/factories.js'
import { createIdGenerator, publicId } from '../../kernel/ids.js'
import { reportGap } from './report-gap.js'

const ids = createIdGenerator()
let database: TestDatabase
beforeAll(async () => {
  database = await createTestDatabase()
})
afterAll(() => database.drop())

test.each([
  ['nothing is missing', { announced: 3, received: 3, open: 0 }, { stored: 3, missing: 0 }],
  ['a message never came', { announced: 3, received: 2, open: 0 }, { stored: 2, missing: 1 }],
  ['one came and could not be stored', { announced: 3, received: 3, open: 1 }, { stored: 2, missing: 1 }],
  ['both', { announced: 5, received: 3, open: 1 }, { stored: 2, missing: 3 }],
  ['more came than was announced', { announced: 1, received: 2, open: 0 }, { stored: 2, missing: 0 }],
  ['what is open is older', { announced: 0, received: 0, open: 2 }, { stored: 0, missing: 0 }],
])('the report says when %s', async (_what, { announced, received, open }, expected) => {
  const { db } = database
  const tenantId = await buildTenant(db)
  const instanceId = await buildInstance(db, tenantId)
  for (let n = 0; n < open; n++) {
    await db.execute(sql`
      insert into inbound_raw (instance_id, tenant_id, enc_hash, sealed)
      values (${instanceId}, ${tenantId}, ${randomBytes(32)}, ''::bytea)`)
  }
  await reportGap({ db, ids }, { tenantId, instanceId }, { type: 'caught-up', announced, received, unreadable: 0 })
  const [event] = await db.query<{ data: unknown }>(sql`
    select data from event where subject_id = ${instanceId} and type = 'instance.caught_up'`)
  const instance = publicId('ins', instanceId)
  expect(event?.data).toEqual({ instanceId: instance, announced, received, unreadable: 0, ...expected })
})
