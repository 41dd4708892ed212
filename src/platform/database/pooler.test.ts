import { afterAll, beforeAll, expect, it } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js'
import { isDatabaseUnavailable } from './database.js'
import { poolerRefusal, refusePooler } from './pooler.js'
import { createPostgres } from './postgres.js'

let database: TestDatabase
beforeAll(async () => {
  database = await createTestDatabase()
})
afterAll(() => database?.drop())

it('takes a session that has the role it asked for, and refuses one that has lost it', async () => {
  await expect(refusePooler(database.db)).resolves.toBeUndefined()
  const { url } = database
  const lost = createPostgres({ url, max: 1, applicationName: 'test', onError: () => {}, systemRole: null })
  await expect(refusePooler(lost)).rejects.toMatchObject({ code: 'connection_pooler' })
  await lost.close()
})

it('knows the refusal of PgBouncer, which otherwise looks like a server that is not there yet', () => {
  const said = Object.assign(new Error('unsupported startup parameter: options'), { code: '08P01', severity: 'FATAL' })
  expect(isDatabaseUnavailable(said)).toBe(true)
  expect(poolerRefusal(said)).toMatchObject({ code: 'connection_pooler' })
  const other = new Error('Connection terminated')
  expect(poolerRefusal(other)).toBe(other)
})
