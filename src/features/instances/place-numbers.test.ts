/** Gateways with real leases, locks and reports over one database: who holds how many, and what moves. */
import sql from 'sql-template-tag'
import { afterEach, expect, it } from 'vitest'
import { type GatewayWorld, useGatewayWorld } from '../../../test/support/gateway-world.js'
import { systemClock } from '../../kernel/clock.js'
import type { InstanceId } from '../../kernel/ids.js'
import { silentLogger } from '../../kernel/logger.js'
import { createIncarnation } from '../../platform/leases/incarnation.js'
import { instanceResource, leaseTerms } from '../../platform/leases/lease.js'
import { createProcessReporter } from '../../platform/leases/process-report.js'
import { createFakeWhatsapp } from '../../platform/whatsapp/fake/fake-whatsapp.js'
import type { Provider } from '../../platform/whatsapp/whatsapp.js'

let world: GatewayWorld
useGatewayWorld((made) => {
  world = made
})
const ends: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
  await world.db.execute(sql`delete from lease_history`)
})

/** With less, a busy machine would lose leases that it should keep. */
const leaseTtlMs = 13_500
const SOON = { timeout: 60_000, interval: 100 }

/** A WhatsApp on which every number is linked, and open as soon as it has connected. */
function linkedWhatsapp(): Provider {
  const { provider, connections } = createFakeWhatsapp()
  return {
    ...provider,
    async connect(options) {
      const connection = await provider.connect(options)
      const fake = connections.at(-1)
      setImmediate(() => fake?.emit({ type: 'open', waId: '5511987654321', lid: '77', pushName: 'Ana' }))
      return connection
    },
  }
}

async function startReplica(replica: string, capacity = 200) {
  const { db } = world
  const common = { db, clock: systemClock, random: Math.random, logger: silentLogger }
  const process = createIncarnation({ ...common, replica, role: 'gateway', slot: 0, version: '1' })
  await process.start()
  let count = () => ({ held: 0, open: 0 })
  const reporter = createProcessReporter({
    ...common,
    incarnation: process.id,
    terms: leaseTerms(leaseTtlMs),
    builtFor: async () => 1,
    gateway: () => ({ ...count(), capacity }),
    isDraining: () => false,
    dependencies: () => [],
  })
  await reporter.start()
  const gateway = await world.start({
    ...{ provider: linkedWhatsapp(), leaseTtlMs, capacity, process: { holder: process.id, replica } },
  })
  count = gateway.supervisor.count
  const stop = async () => {
    await gateway.stop()
    await reporter.stop()
    await process.stop()
  }
  ends.push(stop)
  return { gateway, stop, open: () => gateway.supervisor.count().open }
}

async function createNumbers(count: number): Promise<InstanceId[]> {
  const { change } = await world.start({ capacity: 0 })
  const all: InstanceId[] = []
  for (let index = 0; index < count; index++) {
    const options = { name: `n${index}`, provider: 'baileys', enabled: true } as const
    all.push((await change.create(world.tenantId, options)).id)
  }
  return all
}

const handedOver = async (why: string) => {
  const [row] = await world.db.query<{ count: number }>(
    sql`select count(*)::int as count from lease_history where why = ${why}`,
  )
  return row?.count
}

it('shares the numbers evenly with each replica that comes, moves no more than that needs, and then lets them be', async () => {
  const one = await startReplica('one')
  await createNumbers(12)
  await expect.poll(one.open, SOON).toBe(12)
  const two = await startReplica('two')
  await expect.poll(() => [one.open(), two.open()], SOON).toEqual([6, 6])
  expect(await handedOver('balanced')).toBe(6)
  const three = await startReplica('three')
  const open = () => [one.open(), two.open(), three.open()]
  await expect.poll(open, SOON).toEqual([4, 4, 4])
  expect(await handedOver('balanced')).toBe(10)

  await world.db.execute(sql`insert into replica_drain (replica) values ('two')`)
  await expect.poll(open, SOON).toEqual([6, 0, 6])
  expect(await handedOver('drained')).toBe(4)
  await world.db.execute(sql`delete from replica_drain`)
  await expect.poll(open, SOON).toEqual([4, 4, 4])
  expect(await handedOver('balanced')).toBe(14)
}, 300_000)

it('hands the numbers of a replica that stops to the others, and leaves none free', async () => {
  const replicas = [await startReplica('one'), await startReplica('two')]
  await createNumbers(9)
  const open = () => replicas.map((replica) => replica.open()).sort((few, many) => few - many)
  await expect.poll(open, SOON).toEqual([4, 5])
  await replicas[0]?.stop()
  await expect.poll(() => replicas[1]?.open(), SOON).toBe(9)
}, 120_000)

it('lets a number stay with a drained replica that nobody has room for, and takes no more than the capacity', async () => {
  const one = await startReplica('one')
  await createNumbers(6)
  await expect.poll(one.open, SOON).toBe(6)
  const two = await startReplica('two', 2)
  await world.db.execute(sql`insert into replica_drain (replica) values ('one')`)
  await expect.poll(() => [one.open(), two.open()], SOON).toEqual([4, 2])
  expect(await handedOver('drained')).toBe(2)
  await world.db.execute(sql`delete from replica_drain`)
}, 120_000)

it('moves one number to the replica that an operator names', async () => {
  const [one, two, three] = [await startReplica('one'), await startReplica('two'), await startReplica('three')]
  const numbers = await createNumbers(6)
  const open = () => [one.open(), two.open(), three.open()]
  await expect.poll(open, SOON).toEqual([2, 2, 2])
  const resource = instanceResource(numbers[0] as InstanceId)
  const holderOf = async () => {
    const [row] = await world.db.query<{ replica: string }>(sql`
      select replica from lease join process on incarnation = holder where resource = ${resource}`)
    return row?.replica
  }
  const target = (await holderOf()) === 'three' ? 'two' : 'three'
  await world.db.execute(sql`
    insert into lease_move (resource, epoch, from_holder, to_replica)
    select resource, epoch, holder, ${target} from lease where resource = ${resource}`)
  await expect.poll(holderOf, SOON).toBe(target)
  expect(await handedOver('moved')).toBe(1)
}, 120_000)
