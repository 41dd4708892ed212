import sql from 'sql-template-tag'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { useWebhookBench } from '../../../test/support/webhook-bench.js'
import { createWebhookWorld, type WebhookWorld } from '../../../test/support/webhook-world.js'
import { parseId } from '../../kernel/ids.js'
import { forgetDeliveries, webhookRetention } from './retention.js'

const DAY_MS = 86_400_000

let world: WebhookWorld
beforeAll(async () => {
  world = await createWebhookWorld()
})
afterAll(() => world.stop())

const bench = useWebhookBench(() => world)
const neverAborted = new AbortController().signal
const inDays = (days: number): number => Date.now() + days * DAY_MS

it('forgets deliveries and attempts a month after they were settled, and none that is on its way', async () => {
  const endpoint = await bench.register()
  bench.receiver.answerWith(({ payload }) => (payload.data.bad ? 500 : 200))
  await bench.work()
  await world.recordEvent({ data: { bad: true } })
  const pending = await bench.deliveryOf(endpoint, 1)
  await world.recordEvent()
  await bench.got(2)
  const settled = await bench.deliveryOf(endpoint, 1)
  expect(settled.status).toBe('delivered')

  const { settledDeliveryDays } = webhookRetention
  expect(await forgetDeliveries(world.db, inDays(settledDeliveryDays - 1), neverAborted)).toBe(0)
  expect(await forgetDeliveries(world.db, inDays(settledDeliveryDays + 1), neverAborted)).toBe(1)
  expect((await world.api('GET', `/api/deliveries/${settled.id}`)).status).toBe(404)
  expect((await world.api('GET', `/api/deliveries/${pending.id}`)).body).toMatchObject({
    status: 'pending',
    attempts: [{ number: 1 }],
  })
  const orphans = sql`select from attempt a where not exists (select from delivery d where d.id = a.delivery_id)`
  expect(await world.db.query(orphans)).toEqual([])
})

it('keeps what was given up as long as its dead letter waits for a person', async () => {
  const endpoint = await bench.register()
  await world.recordEvent()
  await bench.work()
  const { id } = await bench.deliveryOf(endpoint, 1)
  const deliveryId = parseId('dlv', id)
  await world.db.execute(sql`update delivery set status = 'exhausted' where id = ${deliveryId}`)
  await world.db.execute(sql`
    insert into job (id, tenant_id, kind, subject_id, state, died_at)
    values (${world.ids.next('job')}, ${world.tenantId}, 'deliver-webhook', ${deliveryId}, 'dead', now())`)
  await forgetDeliveries(world.db, inDays(31), neverAborted)
  expect((await world.api('GET', `/api/deliveries/${id}`)).status).toBe(200)
  const [letter] = await world.jobs.deadLetters(world.tenantId, { limit: 1 })
  if (!letter) throw new Error('no dead letter')
  await world.jobs.discardDead(world.tenantId, letter.jobId)
  await forgetDeliveries(world.db, inDays(31), neverAborted)
  expect((await world.api('GET', `/api/deliveries/${id}`)).status).toBe(404)
})

it('forgets in steps, however many there are', async () => {
  const { id } = await bench.register()
  const path = `/api/webhooks/${id}`
  const eventId = await world.recordEvent()
  await world.db.execute(sql`
    with endpoint as (
      insert into webhook_endpoint (id, tenant_id, url, secret_sealed, deleted_at)
      select uuid_v7(), ${world.tenantId}, 'https://example.com', '', now() from generate_series(1, 4500) returning id
    )
    insert into delivery (id, tenant_id, endpoint_id, event_id, status, settled_at)
    select uuid_v7(), ${world.tenantId}, id, ${eventId}, 'dropped', now() from endpoint`)
  expect(await forgetDeliveries(world.db, inDays(31), neverAborted)).toBeGreaterThanOrEqual(4_500)
  expect((await world.api('GET', path)).status).toBe(200)
})

it('forgets old secrets once their overlap is over, and not before', async () => {
  const { id } = await bench.register()
  await world.api('POST', `/api/webhooks/${id}/rotate-secret`, { body: { overlapHours: 1 } })
  const old = sql`select from webhook_endpoint where old_secret_sealed is not null and deleted_at is null`
  await forgetDeliveries(world.db, Date.now(), neverAborted)
  expect(await world.db.query(old)).toHaveLength(1)
  await world.db.execute(sql`update webhook_endpoint set old_secret_until = now() where old_secret_until is not null`)
  await forgetDeliveries(world.db, Date.now(), neverAborted)
  expect(await world.db.query(old)).toEqual([])
})
