import { randomUUID } from 'node:crypto'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js'
import { buildInstance } from '../../../test/support/factories.js'
import { createTestServer, type TestServer } from '../../../test/support/http-server.js'
import { systemClock } from '../../kernel/clock.js'
import type { Dependency } from '../../kernel/dependency.js'
import { type InstanceId, publicId, type TenantId } from '../../kernel/ids.js'
import { silentLogger } from '../../kernel/logger.js'
import { createIncarnation, type IncarnationService } from '../../platform/leases/incarnation.js'
import { instanceResource, schedulerResource } from '../../platform/leases/lease.js'
import { createLeaseStore } from '../../platform/leases/lease-store.js'
import { DEFAULT_TENANT_ID } from '../tenants/tenant.js'
import { clusterRoutes } from './cluster-routes.js'
import { createDependencyChecks } from './dependency-checks.js'

const limping: Dependency = {
  name: 'redis',
  check: async () => ({
    ...{ name: 'redis', status: 'degraded', meanwhile: 'It may forget.', latencyMs: 1.5, version: '7.0.15' },
    problems: [{ code: 'evicting_policy', found: 'It evicts.', action: 'Set maxmemory-policy noeviction.' }],
  }),
}

let database: TestDatabase
let http: TestServer
let alive: IncarnationService
let mine: InstanceId
let foreign: InstanceId
let otherTenant: TenantId

beforeAll(async () => {
  database = await createTestDatabase()
  const { db } = database
  const dependencies = createDependencyChecks({ dependencies: [limping], clock: systemClock })
  http = await createTestServer({ db, modules: () => [clusterRoutes({ db, dependencies })] })
  alive = createIncarnation({
    ...{ db, replica: 'one', role: 'gateway', slot: 1, version: '1.2.3' },
    ...{ clock: systemClock, random: Math.random, logger: silentLogger },
  })
  await alive.start()
  otherTenant = await http.newTenant()
  mine = await buildInstance(db, DEFAULT_TENANT_ID, { name: 'support' })
  foreign = await buildInstance(db, otherTenant, { name: 'theirs' })
  const leases = createLeaseStore(db, { advisoryLocks: true })
  const resources = [instanceResource(mine), instanceResource(foreign), schedulerResource]
  await leases.poll(resources)
  for (const resource of resources.slice(0, 2)) {
    await leases.take({ resource, holder: alive.id, token: randomUUID(), seenEpoch: 0n, seenRenewSeq: 0n, how: 'free' })
  }
})
afterAll(async () => {
  await alive?.stop()
  await http?.stop()
  await database?.drop()
})

const cluster = async (query = '', tenantId: TenantId = DEFAULT_TENANT_ID) =>
  (await http.ask('GET', `/api/cluster${query}`, { key: await http.newKey({ tenantId, scopes: ['read'] }) })).json

it('shows the processes that are alive, and the leases of the tenant with holder, epoch and age', async () => {
  const { processes, leases } = await cluster()
  expect(processes).toMatchObject([
    { incarnation: alive.id, replica: 'one', role: 'gateway', slot: 1, version: '1.2.3', alive: true },
  ])
  const holder = { incarnation: alive.id, replica: 'one', role: 'gateway', slot: 1, alive: true }
  expect(leases).toEqual([
    {
      ...{ resource: 'instance', instanceId: publicId('ins', mine), instanceName: 'support', epoch: 1, holder },
      ...{ acquiredAt: expect.any(String), ageMs: expect.any(Number) },
    },
    {
      ...{ resource: 'scheduler', instanceId: null, instanceName: null, epoch: 0, holder: null },
      ...{ acquiredAt: null, ageMs: null },
    },
  ])
})

it('shows what the process depends on, with every problem and what to do', async () => {
  expect((await cluster()).dependencies).toEqual([await limping.check()])
})

it('shows a tenant nothing of the numbers of another', async () => {
  const { leases } = await cluster('', otherTenant)
  expect(leases.map(({ instanceName }: { instanceName: string }) => instanceName)).toEqual(['theirs', null])
  expect(JSON.stringify(await cluster())).not.toContain('theirs')
})

it('goes page by page', async () => {
  const first = await cluster('?limit=1')
  expect(first.leases).toHaveLength(1)
  const second = await cluster(`?limit=1&cursor=${encodeURIComponent(first.nextCursor)}`)
  expect([first, second].flatMap(({ leases }) => leases.map(({ resource }: { resource: string }) => resource))).toEqual(
    ['instance', 'scheduler'],
  )
  expect(second.nextCursor).toBeNull()
})

it('says that a holder has gone whose lock is free', async () => {
  const gone = randomUUID()
  await database.db.execute(sql`
    insert into process (incarnation, incarnation_lock, replica, role, slot, version)
    values (${gone}, 42, 'two', 'gateway', 0, '1.2.3')`)
  await database.db.execute(
    sql`update lease set holder = ${gone}, epoch = 7 where resource = ${instanceResource(mine)}`,
  )
  const { processes, leases } = await cluster()
  expect(processes.find(({ replica }: { replica: string }) => replica === 'two')).toMatchObject({ alive: false })
  expect(leases[0]).toMatchObject({ epoch: 7, holder: { replica: 'two', alive: false } })
})
