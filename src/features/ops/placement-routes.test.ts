import { randomUUID } from 'node:crypto'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js'
import { buildInstance } from '../../../test/support/factories.js'
import { createTestServer, type TestServer } from '../../../test/support/http-server.js'
import { createIdGenerator, type InstanceId, publicId } from '../../kernel/ids.js'
import { silentLogger } from '../../kernel/logger.js'
import { type Incarnation, instanceResource } from '../../platform/leases/lease.js'
import { createLeaseStore } from '../../platform/leases/lease-store.js'
import { DEFAULT_TENANT_ID } from '../tenants/tenant.js'
import { placementRoutes } from './placement-routes.js'

let database: TestDatabase
let http: TestServer
let key: string
const notified: string[] = []

beforeAll(async () => {
  database = await createTestDatabase()
  const { db } = database
  const ids = createIdGenerator()
  http = await createTestServer({ db, modules: () => [placementRoutes({ db, ids, logger: silentLogger })] })
  key = await http.newKey()
  await db.listen('mirante_lease', (payload) => notified.push(payload))
})
afterAll(async () => {
  await http?.stop()
  await database?.drop()
})
beforeEach(async () => {
  await database.db.execute(sql`
    with l as (delete from lease), h as (delete from lease_history), m as (delete from lease_move),
      d as (delete from replica_drain)
    delete from process`)
})

/** A gateway that needs no lock to count as alive. */
async function gateway(replica: string, { capacity = 10, ageMs = 0 } = {}): Promise<Incarnation> {
  const id = randomUUID() as Incarnation
  await database.db.execute(sql`
    insert into process (incarnation, replica, role, slot, version) values (${id}, ${replica}, 'gateway', 0, '1')`)
  await database.db.execute(sql`
    insert into process_report (incarnation, reported_at, built_for, held, open, capacity, draining, rss_bytes, dependencies)
    values (${id}, now() - make_interval(secs => ${ageMs / 1_000}), 1, 0, 0, ${capacity}, false, 1, '[]')`)
  return id
}

async function take(id: InstanceId, holder: Incarnation, seen: number): Promise<void> {
  const store = createLeaseStore(database.db, { advisoryLocks: false })
  const resource = instanceResource(id)
  const [record] = await store.poll([resource])
  const seenRenewSeq = record?.renewSeq ?? 0n
  await store.take({ resource, holder, token: randomUUID(), seenEpoch: BigInt(seen), seenRenewSeq, how: 'free' })
}

const newInstance = () => buildInstance(database.db, DEFAULT_TENANT_ID, { name: randomUUID() })
const order = (what: string, name: string, keyOf = key) =>
  http.ask('POST', `/api/cluster/replicas/${name}/${what}`, { key: keyOf })
const move = (id: InstanceId, body?: unknown, keyOf = key) =>
  http.ask('POST', `/api/cluster/instances/${publicId('ins', id)}/move`, { key: keyOf, body: body ?? {} })

it('drains a replica by its name, says what it holds, and undrains it, as often as it is asked', async () => {
  const holder = await gateway('one')
  await take(await newInstance(), holder, 0)
  notified.length = 0
  for (let times = 0; times < 2; times++) {
    const answer = await order('drain', 'one')
    expect(answer).toMatchObject({ status: 200, json: { replica: 'one', drained: true, held: 1 } })
  }
  await expect.poll(() => notified).toEqual(['', ''])
  for (let times = 0; times < 2; times++) {
    expect(await order('undrain', 'one')).toMatchObject({ status: 200, json: { drained: false, held: 1 } })
  }
})

it('knows a drained replica that does not run, and no other', async () => {
  expect(await order('drain', 'nobody')).toMatchObject({ status: 404, json: { code: 'not_found' } })
  expect(await order('undrain', 'nobody')).toMatchObject({ status: 404 })
  await database.db.execute(sql`insert into replica_drain (replica) values ('stopped')`)
  expect(await order('undrain', 'stopped')).toMatchObject({ status: 200, json: { drained: false, held: 0 } })
})

it('lets the operator alone drain', async () => {
  await gateway('one')
  const foreign = await http.newKey({ tenantId: await http.newTenant() })
  for (const what of ['drain', 'undrain']) {
    expect(await order(what, 'one', foreign)).toMatchObject({ status: 403, json: { code: 'forbidden_scope' } })
  }
})

it('orders a number to another replica, under the epoch of its holder, and records that', async () => {
  const [one] = [await gateway('one'), await gateway('two')]
  const id = await newInstance()
  await take(id, one, 0)
  const answer = await move(id, { to: 'two' })
  expect(answer).toMatchObject({
    ...{ status: 202, json: { instanceId: publicId('ins', id), from: 'one', to: 'two', epoch: 1 } },
  })
  await move(id)
  const moves = await database.db.query(sql`select resource, epoch, from_holder, to_replica from lease_move`)
  expect(moves).toEqual([{ resource: instanceResource(id), epoch: 1n, from_holder: one, to_replica: null }])
  const events = await database.db.query(sql`select data from event where instance_id = ${id} order by seq`)
  expect(events[0]).toMatchObject({ data: { from: 'one', to: 'two', epoch: '1' } })
})

it('refuses a move that cannot be: nobody holds it, or nobody there could take it', async () => {
  const one = await gateway('one')
  const id = await newInstance()
  const refused = async (body: unknown, detail: RegExp) =>
    expect(await move(id, body)).toMatchObject({
      ...{ status: 409, json: { code: 'conflict', detail: expect.stringMatching(detail) } },
    })
  await refused({}, /No gateway holds it/)
  await take(id, one, 0)
  await refused({}, /no other gateway/)
  await refused({ to: 'one' }, /already/)
  await refused({ to: 'nobody' }, /No living gateway/)
  await gateway('frozen', { ageMs: 60_000 })
  await refused({ to: 'frozen' }, /No living gateway/)
  await gateway('full', { capacity: 0 })
  await refused({ to: 'full' }, /no room/)
  await gateway('drained')
  await order('drain', 'drained')
  await refused({ to: 'drained' }, /drained/)
  expect((await move(id, { to: 'not a name' })).status).toBe(400)
})

it('moves and shows the numbers of the own tenant alone', async () => {
  const [one] = [await gateway('one'), await gateway('two')]
  const id = await newInstance()
  await take(id, one, 0)
  const foreign = await http.newKey({ tenantId: await http.newTenant() })
  expect((await move(id, {}, foreign)).status).toBe(404)
  const holders = await http.ask('GET', `/api/instances/${publicId('ins', id)}/holders`, { key: foreign })
  expect(holders.status).toBe(404)
})

it('shows who held a number, the newest first, page by page', async () => {
  const [one, two] = [await gateway('one'), await gateway('two')]
  const id = await newInstance()
  await take(id, one, 0)
  await take(id, two, 1)
  await take(id, one, 2)
  const page = async (query: string) =>
    (await http.ask('GET', `/api/instances/${publicId('ins', id)}/holders?${query}`, { key })).json
  const first = await page('limit=2')
  expect(first.data).toMatchObject([
    { epoch: 3, replica: 'one', role: 'gateway', slot: 0, how: 'free', endedAt: null, why: null },
    { epoch: 2, replica: 'two', endedAt: expect.any(String), why: 'free' },
  ])
  const second = await page(`limit=2&cursor=${first.nextCursor}`)
  expect(second).toMatchObject({ data: [{ epoch: 1, replica: 'one' }], nextCursor: null })
})
