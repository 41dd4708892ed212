/** Who is told to end when: real rows, and a clock that plays the other replica while the gateway sleeps. */
import sql from 'sql-template-tag'
import { expect, it } from 'vitest'
import { buildInstance, takeLease } from '../../../test/support/factories.js'
import { type GatewayWorld, useGatewayWorld } from '../../../test/support/gateway-world.js'
import type { InstanceId } from '../../kernel/ids.js'
import type { Incarnation } from '../../platform/leases/lease.js'
import { leaveInTurns } from './leave-in-turns.js'

let world: GatewayWorld
useGatewayWorld((made) => {
  world = made
})

const self = 'b0000000-0000-4000-8000-000000000000' as Incarnation

interface Scene {
  /** In the order in which they were told to end. */
  readonly told: readonly InstanceId[]
  run(options?: {
    readonly hasTakers?: () => Promise<boolean>
    /** What happens while the gateway sleeps. */
    readonly meanwhile?: () => Promise<void>
  }): Promise<void>
}

async function createScene(count: number, pairing: readonly number[] = []): Promise<Scene> {
  const sessions: { instanceId: InstanceId; isPairing: boolean; drain(): void }[] = []
  const told: InstanceId[] = []
  for (let index = 0; index < count; index++) {
    const instanceId = await buildInstance(world.db, world.tenantId, { connectionStatus: 'RECONNECTING' })
    sessions.push({ instanceId, isPairing: pairing.includes(index), drain: () => void told.push(instanceId) })
  }
  return {
    told,
    async run({ hasTakers = async () => true, meanwhile = async () => {} } = {}) {
      let time = 0
      const clock = {
        mono: () => time,
        async sleep(ms: number) {
          time += ms
          await meanwhile()
        },
      }
      await leaveInTurns({ db: world.db, clock, self, sessions, hasTakers, withinMs: 10_000 })
    },
  }
}

async function comesUp(id: InstanceId): Promise<void> {
  await takeLease(world.db, id)
  await world.db.execute(sql`update instance set connection_status = 'CONNECTED' where id = ${id}`)
}

it('tells four to end; each that is soon up elsewhere makes room for the next one, and every so many for one more', async () => {
  const scene = await createScene(14)
  const tolds: number[] = []
  let up = 0
  await scene.run({
    async meanwhile() {
      tolds.push(scene.told.length)
      const next = scene.told[up++]
      if (next) await comesUp(next)
    },
  })
  expect(tolds).toEqual([4, 5, 6, 7, 8, 10, 11, 12, 13, 14])
  expect(new Set(scene.told).size).toBe(14)
})

it('waits for a connection, not for a lease; for none of them for ever, and lets fewer go when they are slow', async () => {
  const scene = await createScene(9)
  const tolds: number[] = []
  await scene.run({
    async meanwhile() {
      tolds.push(scene.told.length)
      if (tolds.length === 1) for (const id of scene.told) await takeLease(world.db, id)
    },
  })
  const changes = tolds.flatMap((told, look) => (told === tolds[look - 1] ? [] : [{ told, atMs: look * 50 }]))
  // Four were waited for in vain, then two, two, and the last one.
  expect(changes).toEqual([
    { told: 4, atMs: 0 },
    { told: 6, atMs: 2_500 },
    { told: 8, atMs: 5_000 },
    { told: 9, atMs: 7_500 },
  ])
})

it('keeps those whose phone is being linked to the last', async () => {
  const scene = await createScene(10, [0, 3])
  const order: InstanceId[] = []
  await scene.run({
    async meanwhile() {
      for (const id of scene.told.slice(order.length)) {
        order.push(id)
        await comesUp(id)
      }
    },
  })
  const rows = await world.db.query<{ id: InstanceId }>(
    sql`select id from instance where tenant_id = ${world.tenantId} order by id`,
  )
  expect(scene.told.slice(-2)).toEqual([rows[0]?.id, rows[3]?.id])
})

it('tells all to end at once when nobody is there to take them, is there no more, or nobody knows', async () => {
  const alone = await createScene(20)
  await alone.run({ hasTakers: async () => false, meanwhile: () => Promise.reject(new Error('it waited')) })
  expect(alone.told).toHaveLength(20)

  const left = await createScene(20)
  let looks = 0
  await left.run({ hasTakers: async () => ++looks < 3 })
  expect(looks).toBe(3)
  expect(left.told).toHaveLength(20)

  const blind = await createScene(20)
  await blind.run({ hasTakers: () => Promise.reject(new Error('the database is away')) })
  expect(blind.told).toHaveLength(20)
})
