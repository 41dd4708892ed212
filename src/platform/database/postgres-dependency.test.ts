import { afterAll, beforeAll, expect, it } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js'
import { systemClock } from '../../kernel/clock.js'
import { codeVersion } from './migrate.js'
import { createPostgres } from './postgres.js'
import { createPostgresDependency, judgePrimary, type PrimaryFacts } from './postgres-dependency.js'

const sound: PrimaryFacts = {
  ...{ version: '18.1', versionNumber: 180_001, readOnly: false, synchronousCommit: 'on', fsync: true },
  ...{ hasSynchronousStandby: false, connectionLimit: 97, connections: 20, clockAheadMs: 0, roundTripMs: 2 },
  ...{ schemaVersion: 12, oldestWorkingCode: 12, wantedSchema: 12 },
}

it('has nothing to say of a sound primary', () => {
  expect(judgePrimary(sound)).toEqual([])
})

it.each<[Partial<PrimaryFacts>, string]>([
  [{ version: '14.9', versionNumber: 140_009 }, 'version_too_old'],
  [{ readOnly: true }, 'read_only'],
  [{ connections: 90 }, 'connections_nearly_used'],
  [{ fsync: false }, 'fsync_off'],
  [{ synchronousCommit: 'off' }, 'synchronous_commit_off'],
  [{ synchronousCommit: 'local', hasSynchronousStandby: true }, 'synchronous_commit_local'],
  [{ clockAheadMs: 4_000 }, 'clock_apart'],
  [{ clockAheadMs: -300_000 }, 'clock_apart'],
  [{ schemaVersion: 13 }, 'schema_newer'],
  [{ schemaVersion: 13, oldestWorkingCode: 13 }, 'schema_too_new'],
  [{ schemaVersion: 11 }, 'schema_older'],
])('names what is wrong: %j is %s', (change, code) => {
  expect(judgePrimary({ ...sound, ...change })).toMatchObject([{ code, action: expect.stringMatching(/\w/) }])
})

it('does not blame a clock for what a slow answer hides, nor a local commit where nothing stands by', () => {
  expect(judgePrimary({ ...sound, clockAheadMs: 4_000, roundTripMs: 3_000 })).toEqual([])
  expect(judgePrimary({ ...sound, synchronousCommit: 'local' })).toEqual([])
})

let database: TestDatabase
beforeAll(async () => {
  database = await createTestDatabase()
})
afterAll(() => database?.drop())

const check = (url: string, wantedSchema: () => Promise<number> = () => codeVersion()) => {
  const db = createPostgres({ url, max: 1, applicationName: 'mirante test', onError: () => {} })
  return createPostgresDependency({ db, hosts: 1, clock: systemClock, wantedSchema })
    .check()
    .finally(() => db.close())
}

it('looks at the real server', async () => {
  const { problems, ...report } = await check(database.url)
  expect(report).toMatchObject({
    name: 'postgres',
    latencyMs: expect.any(Number),
    version: expect.stringMatching(/^\d/),
  })
  expect(problems.map(({ code }) => code)).not.toContain('schema_too_new')
  const { problems: newer } = await check(database.url, async () => 1)
  expect(newer.map(({ code }) => code)).toContain('schema_too_new')
})

it('sees a session that answers commits before they are on the disk', async () => {
  const url = new URL(database.url)
  url.searchParams.set('options', '-c synchronous_commit=off')
  const { status, meanwhile, problems } = await check(url.href)
  expect(problems.map(({ code }) => code)).toContain('synchronous_commit_off')
  expect([status, meanwhile]).toEqual(['degraded', expect.any(String)])
})

it('is down where nothing answers, and says so without the address', async () => {
  const report = await check('postgres://mirante:hush@127.0.0.1:1/mirante')
  expect(report).toMatchObject({ status: 'down', latencyMs: null, version: null, problems: [{ code: 'unreachable' }] })
  expect(JSON.stringify(report)).not.toContain('hush')
})
