/** Named statements keep the plan of the day on which their tables were empty: it must enter each of them by an index. */
import sql from 'sql-template-tag'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js'
import { readWhole, statementOf } from '../../../test/support/kept-plan.js'
import { createIdGenerator } from '../../kernel/ids.js'
import type { Queryable } from '../../platform/database/database.js'
import { findWanted, insertFannedOut } from './fan-out-store.js'

const ids = createIdGenerator()
const event = { tenantId: ids.next('ten'), eventId: ids.next('evt') }
const delivery = { ...event, id: ids.next('dlv'), endpointId: ids.next('whe') }
/** The jobs' own part is looked at in reserve.test.ts. */
const insertJobs = () => sql`select from made`

let database: TestDatabase
beforeAll(async () => {
  database = await createTestDatabase()
})
afterAll(() => database.drop())

test.each<[string, (db: Queryable) => Promise<unknown>]>([
  ['fan-out-wanted', (db) => findWanted(db, [event])],
  [
    'fan-out-insert',
    (db) => insertFannedOut(db, { bodies: [{ ...event, body: '{}' }], deliveries: [delivery], insertJobs }),
  ],
])('%s reads nothing whole', async (_name, send) => {
  expect(await readWhole(database.db, await statementOf(send))).toEqual([])
})
