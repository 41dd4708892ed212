/** For tests of stores: a database for the file, and in it a tenant with an instance for each test. */
import { afterAll, beforeAll, beforeEach } from 'vitest'
import type { InstanceId, TenantId } from '../../src/kernel/ids.js'
import type { Database } from '../../src/platform/database/database.js'
import { createTestDatabase, type TestDatabase } from './database.js'
import { buildInstance, buildTenant } from './factories.js'

export interface Place {
  readonly db: Database
  readonly tenantId: TenantId
  readonly instanceId: InstanceId
}

/** @param begin before each test, with what is new */
export function useInstance(begin: (place: Place) => void | Promise<void>): void {
  let database: TestDatabase | undefined
  beforeAll(async () => {
    database = await createTestDatabase()
  })
  afterAll(() => database?.drop())
  beforeEach(async () => {
    if (!database) throw new Error('there is no database')
    const { db } = database
    const tenantId = await buildTenant(db)
    await begin({ db, tenantId, instanceId: await buildInstance(db, tenantId) })
  })
}
