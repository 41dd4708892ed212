/** Downloading what came in: tries, takings-over, and what must not be left behind. */
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sql from 'sql-template-tag'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js'
import { eventually } from '../../../test/support/eventually.js'
import { buildInstance, buildTenant, takeLease } from '../../../test/support/factories.js'
import { systemClock } from '../../kernel/clock.js'
import { newKey } from '../../kernel/crypto.js'
import { createIdGenerator, type InstanceId, type MediaId, type TenantId } from '../../kernel/ids.js'
import { silentLogger } from '../../kernel/logger.js'
import type { Lease } from '../../platform/leases/lease.js'
import { createDirectoryStorage } from '../../platform/media/fs.js'
import type { MediaStorage } from '../../platform/media/media.js'
import { pdf } from '../../platform/media/testing/samples.js'
import { type Connection, MediaError } from '../../platform/whatsapp/whatsapp.js'
import { createDataKeys, type DataKeys, kekOf, sealFor } from '../tenants/data-keys.js'
import { mediaSourcePlace, storageKeyOf } from './media.js'
import { createMediaDownloads } from './media-downloads.js'
import { claimDownloads } from './media-store.js'

const ids = createIdGenerator()
let database: TestDatabase
let dataKeys: DataKeys
let root: string
let tenantId: TenantId
let instanceId: InstanceId
let lease: Lease
let connected = new AbortController()

beforeAll(async () => {
  database = await createTestDatabase()
  dataKeys = createDataKeys({ db: database.db, kek: kekOf(newKey()) })
})
afterAll(() => database.drop())
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'mirante-downloads-'))
  tenantId = await buildTenant(database.db)
  instanceId = await buildInstance(database.db, tenantId)
  lease = await takeLease(database.db, instanceId)
  connected = new AbortController()
})
afterEach(async () => {
  connected.abort()
  await rm(root, { recursive: true, force: true })
})

type Download = NonNullable<Connection['downloadMedia']>

/** A connected number whose downloads the test plays. */
async function connect(downloadMedia: Download, retryDelaysMs: readonly number[] = [0, 0, 0], as: Lease = lease) {
  const { db } = database
  const removed: string[] = []
  const directory = createDirectoryStorage(root)
  const storage: MediaStorage = {
    ...directory,
    async remove(key) {
      await directory.remove(key)
      removed.push(key)
    },
  }
  const downloads = createMediaDownloads({
    ...{ db, ids, dataKeys, clock: systemClock, logger: silentLogger, retryDelaysMs },
    ...{ storage, maxBytes: 1_000, pollEveryMs: 50, storageRetryMs: 10 },
  })
  await downloads.acquired?.(as, tenantId, instanceId)
  const connection = { downloadMedia } as Connection
  downloads.opened?.({ tenantId, instanceId, lease: as, connection, signal: connected.signal })
  return { removed }
}

async function pending(): Promise<MediaId> {
  const id = ids.next('med')
  const place = mediaSourcePlace({ tenantId, instanceId, mediaId: id })
  const source = sealFor(await dataKeys.dataKey(tenantId, instanceId), place, Buffer.from(`source of ${id}`))
  await database.db.execute(sql`
    insert into media (id, tenant_id, instance_id, message_id, direction, state, type, mime_type, storage_key,
      source_sealed, next_attempt_at)
    values (${id}, ${tenantId}, ${instanceId}, ${ids.next('msg')}, 'inbound', 'pending', 'document', 'application/pdf',
      ${storageKeyOf(tenantId, id)}, ${source}, now())`)
  return id
}

interface Row {
  readonly state: string
  readonly errorCode: string | null
  readonly attempts: number
  readonly hasSource: boolean
}
async function rowOf(id: MediaId): Promise<Row | undefined> {
  const [row] = await database.db.query<Row>(sql`
    select state, error_code as "errorCode", attempts, source_sealed is not null as "hasSource" from media where id = ${id}`)
  return row
}
const becomes = (id: MediaId, state: string) => eventually(async () => (await rowOf(id))?.state === state, state)

async function eventsOf(id: MediaId): Promise<string[]> {
  const rows = await database.db.query<{ type: string }>(
    sql`select type from event where subject_id = ${id} order by seq`,
  )
  return rows.map(({ type }) => type)
}

async function files(): Promise<string[]> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true })
  return entries.filter((entry) => entry.isFile()).map(({ name }) => name)
}

async function* whole(): AsyncGenerator<Buffer> {
  yield pdf()
}

test('a file that cannot be had now is tried again, and told of when it is here; its keys are forgotten', async () => {
  const id = await pending()
  const sources: string[] = []
  await connect(async function* (source) {
    sources.push(String(source))
    yield pdf().subarray(0, 5)
    if (sources.length < 3) throw new MediaError('unreachable')
    yield pdf().subarray(5)
  })
  await becomes(id, 'stored')
  expect(sources).toEqual(Array.from({ length: 3 }, () => `source of ${id}`))
  expect(await rowOf(id)).toMatchObject({ attempts: 3, errorCode: null, hasSource: false })
  expect(await eventsOf(id)).toEqual(['media.ready'])
  expect(await files()).toEqual([id])
})

test.each([
  ['unreachable', 'media_unreachable', 3],
  ['corrupt', 'media_corrupt', 3],
  ['expired', 'media_expired', 1],
] as const)('a file that stays %s is given up and told of, and leaves nothing behind', async (failure, code, tries) => {
  const id = await pending()
  await connect(
    async function* () {
      yield pdf()
      throw new MediaError(failure)
    },
    [0, 0],
  )
  await becomes(id, 'failed')
  expect(await rowOf(id)).toMatchObject({ attempts: tries, errorCode: code })
  expect(await eventsOf(id)).toEqual(['media.failed'])
  expect(await files()).toEqual([])
})

test('a storage that takes nothing costs the file no try, however long', async () => {
  const id = await pending()
  await rm(root, { recursive: true })
  await writeFile(root, 'a file stands where the directory was')
  let tries = 0
  await connect(async function* () {
    tries += 1
    yield pdf()
  }, [])
  await eventually(() => tries > 5, 'it is tried again and again')
  await rm(root)
  await becomes(id, 'stored')
  expect(await rowOf(id)).toMatchObject({ attempts: 1, errorCode: null })
})

test('a file above the limit is given up at once', async () => {
  const id = await pending()
  await connect(async function* () {
    for (;;) yield Buffer.alloc(600, 1)
  })
  await becomes(id, 'failed')
  expect(await rowOf(id)).toMatchObject({ attempts: 1, errorCode: 'media_too_large' })
})

test('what a holder had begun when it died is done by the next one, without waiting', async () => {
  const id = await pending()
  expect(await claimDownloads(database.db, lease, instanceId, { limit: 3, forMs: 3_600_000 })).toHaveLength(1)
  await connect(whole, [0], await takeLease(database.db, instanceId))
  await becomes(id, 'stored')
})

test('who has lost the lease takes nothing', async () => {
  await pending()
  await takeLease(database.db, instanceId)
  expect(await claimDownloads(database.db, lease, instanceId, { limit: 3, forMs: 1_000 })).toEqual([])
})

test('a connection that ends under a download costs no try', async () => {
  const id = await pending()
  const first = connected
  await connect(async function* () {
    yield pdf()
    first.abort()
    throw new MediaError('unreachable')
  })
  await eventually(async () => first.signal.aborted && (await rowOf(id))?.attempts === 0, 'it is due again')
  connected = new AbortController()
  await connect(whole)
  await becomes(id, 'stored')
})

test('what is deleted while it comes leaves no bytes behind', async () => {
  const id = await pending()
  const { removed } = await connect(async function* () {
    yield pdf()
    await database.db.execute(sql`delete from media where id = ${id}`)
  })
  await eventually(() => removed.length > 0, 'it is removed')
  expect(await files()).toEqual([])
  expect(await eventsOf(id)).toEqual([])
})
