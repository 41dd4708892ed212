import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js'
import { buildTenant } from '../../../test/support/factories.js'
import { createIdGenerator, type TenantId } from '../../kernel/ids.js'
import { type EventType, internalEventTypes, type NewEvent, publicEventTypes } from './event.js'
import { findEvents, freezeBodies, lastSequence, listEvents } from './event-store.js'
import { record } from './record.js'
import { jobsWokenBy, typesWaking } from './subscriptions.js'

const ids = createIdGenerator()

let database: TestDatabase
beforeAll(async () => {
  database = await createTestDatabase()
})
afterAll(() => database.drop())

const newEvent = (tenantId: TenantId, type: EventType = 'message.sent', data: object = {}): NewEvent => ({
  id: ids.next('evt'),
  tenantId,
  type,
  instanceId: null,
  subjectId: null,
  data: { ...data },
})

const recordAll = (events: readonly NewEvent[]): Promise<void> => database.db.tx((tx) => record(tx, events))

async function addEndpoint(tenantId: TenantId, events: readonly string[] | null): Promise<void> {
  await database.db.execute(sql`
    insert into webhook_endpoint (id, tenant_id, url, events, secret_sealed)
    values (${ids.next('whe')}, ${tenantId}, 'https://example.com', ${events}::text[], '')`)
}

const jobsOf = (tenantId: TenantId) =>
  database.db.query<{ kind: string; type: EventType }>(sql`
    select j.kind, e.type from job j join event e on e.id = j.subject_id where j.tenant_id = ${tenantId}`)

describe('recording', () => {
  it('wakes exactly the jobs that the subscriptions say', async () => {
    const tenantId = await buildTenant(database.db)
    await addEndpoint(tenantId, null)
    const types = [...publicEventTypes, ...internalEventTypes]
    await recordAll(types.map((type) => newEvent(tenantId, type)))
    const woken = (await jobsOf(tenantId)).map(({ kind, type }) => `${type} ${kind}`)
    const expected = types.flatMap((type) => jobsWokenBy(type).map((kind) => `${type} ${kind}`))
    expect(woken.toSorted()).toEqual(expected.toSorted())
    expect(typesWaking('fan-out')).toEqual(publicEventTypes.filter((type) => type !== 'webhook.tested'))
  })

  it('wakes nothing where no endpoint of the tenant wants the event', async () => {
    const [tenantId, other] = [await buildTenant(database.db), await buildTenant(database.db)]
    await addEndpoint(other, null)
    await addEndpoint(tenantId, ['message.read'])
    await recordAll([newEvent(tenantId, 'message.sent'), newEvent(tenantId, 'message.read')])
    expect(await jobsOf(tenantId)).toEqual([{ kind: 'fan-out', type: 'message.read' }])
  })

  it('numbers the events of each tenant without gaps, in their order, whoever records and whatever rolls back', async () => {
    const tenants = [await buildTenant(database.db), await buildTenant(database.db)]
    const recorded = await Promise.all(
      Array.from({ length: 30 }, async (_, n) => {
        const events = tenants.flatMap((tenantId) => [newEvent(tenantId), newEvent(tenantId)])
        if (n % 5 === 0) {
          const failed = database.db.tx(async (tx) => {
            await record(tx, events)
            throw new Error('rolled back')
          })
          await expect(failed).rejects.toThrow('rolled back')
        }
        await recordAll(events)
        return events
      }),
    )
    for (const tenantId of tenants) {
      const events = await listEvents(database.db, tenantId, { after: 0n, types: publicEventTypes, limit: 1_000 })
      expect(events.map(({ seq }) => seq)).toEqual(Array.from({ length: 60 }, (_, n) => BigInt(n + 1)))
      expect(await lastSequence(database.db, tenantId)).toBe(60n)
      const position = new Map(events.map(({ id, seq }) => [id, seq]))
      for (const batch of recorded) {
        const [first, second] = batch.filter((event) => event.tenantId === tenantId)
        if (first && second) expect(position.get(second.id)).toBe((position.get(first.id) ?? 0n) + 1n)
      }
    }
  })
})

describe('a body', () => {
  it('is frozen by whoever comes first, and only for its own tenant', async () => {
    const [tenantId, other] = [await buildTenant(database.db), await buildTenant(database.db)]
    const event = newEvent(tenantId)
    await recordAll([event])
    const key = { tenantId, eventId: event.id }
    expect((await freezeBodies(database.db, [{ tenantId: other, eventId: event.id, body: 'foreign' }])).size).toBe(0)
    const frozen = await Promise.all(
      Array.from({ length: 8 }, (_, n) => freezeBodies(database.db, [{ ...key, body: `body ${n}` }])),
    )
    expect(new Set(frozen.map((bodies) => bodies.get(event.id))).size).toBe(1)
    const [stored] = await findEvents(database.db, [key])
    expect(stored?.body).toBe(frozen[0]?.get(event.id))
    expect(await findEvents(database.db, [{ tenantId: other, eventId: event.id }])).toEqual([])
  })
})
