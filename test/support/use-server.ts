/** For tests of routes over a real database: both made for the file, and gone after it. */
import { afterAll, beforeAll } from 'vitest'
import type { Database } from '../../src/platform/database/database.js'
import { createTestDatabase, type TestDatabase } from './database.js'
import { createTestServer, type TestServer, type TestServerOptions } from './http-server.js'

/** @param begin before the first test, with what is new */
export function useTestServer(
  modules: (db: Database) => ReturnType<TestServerOptions['modules']>,
  begin: (made: { readonly db: Database; readonly http: TestServer }) => void | Promise<void>,
): void {
  let database: TestDatabase | undefined
  let http: TestServer | undefined
  beforeAll(async () => {
    database = await createTestDatabase()
    const { db } = database
    http = await createTestServer({ db, modules: () => modules(db) })
    await begin({ db, http })
  })
  afterAll(async () => {
    await http?.stop()
    await database?.drop()
  })
}
