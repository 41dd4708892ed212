import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { eventually } from '../../../test/support/eventually.js'
import { buildTenant } from '../../../test/support/factories.js'
import { type RegisteredEndpoint, useWebhookBench } from '../../../test/support/webhook-bench.js'
import { createWebhookWorld, type WebhookWorld } from '../../../test/support/webhook-world.js'
import { publicId } from '../../kernel/ids.js'
import { MAX_REPLAYED } from './replay-deliveries.js'

let world: WebhookWorld
beforeAll(async () => {
  world = await createWebhookWorld()
})
afterAll(() => world.stop())

const bench = useWebhookBench(() => world)
const replay = (endpoint: { id: string }, body: unknown, as = world.key) =>
  world.api('POST', `/api/webhooks/${endpoint.id}/replay`, { body, as })
const idsAt = (path: string) => bench.receiver.verified.filter((one) => one.path === path).map(({ id }) => id)
/** The database's clock, which is that of the events. */
const now = async (): Promise<string> =>
  ((await world.db.query<{ at: Date }>(sql`select clock_timestamp() as at`))[0]?.at ?? new Date()).toISOString()
const LONG_AGO = '2020-01-01T00:00:00Z'

describe('a replay', () => {
  it('of one event delivers it again: same id, same body, signed anew', async () => {
    const endpoint = await bench.register()
    await bench.work()
    const eventId = publicId('evt', await world.recordEvent({ data: { text: 'once more' } }))
    await bench.deliveryOf(endpoint, 1)
    const rotated = await world.api('POST', `/api/webhooks/${endpoint.id}/rotate-secret`, { body: { overlapHours: 0 } })
    bench.receiver.trust(rotated.body.secret)
    const { status, body } = await replay(endpoint, { eventId })
    expect({ status, body }).toEqual({ status: 202, body: { count: 1 } })
    await bench.got(2)
    const [first, again] = bench.receiver.verified
    expect(again).toMatchObject({ id: eventId, body: first?.body, count: 2, verifiedBy: [rotated.body.secret] })
    expect(first?.verifiedBy).toEqual([endpoint.secret])
    expect(Number(again?.headers['webhook-timestamp'])).toBeGreaterThanOrEqual(
      Number(first?.headers['webhook-timestamp']),
    )
    const delivery = await bench.deliveryOf(endpoint, 2)
    expect(delivery).toMatchObject({ status: 'delivered', attempts: [{ number: 1 }, { number: 2 }] })
    expect(await bench.deliveriesOf(endpoint)).toHaveLength(1)
  })

  it('that is a dry run counts, and delivers nothing', async () => {
    const endpoint = await bench.register()
    await bench.work()
    const since = await now()
    const eventId = publicId('evt', await world.recordEvent({ data: { text: 'once' } }))
    await bench.deliveryOf(endpoint, 1)
    for (const wanted of [{ eventId }, { since }]) {
      const { status, body } = await replay(endpoint, { ...wanted, dryRun: true })
      expect({ status, body }).toEqual({ status: 200, body: { count: 1 } })
    }
    await bench.quiet()
    expect(bench.receiver.verified).toHaveLength(1)
  })

  it('of one event goes to that endpoint only, whatever its filters say', async () => {
    const endpoint = await bench.register({ url: bench.receiver.at('/a'), events: ['message.read'] })
    await bench.register({ url: bench.receiver.at('/b'), events: ['message.read'] })
    await bench.work()
    const eventId = publicId('evt', await world.recordEvent({ type: 'message.sent' }))
    expect((await replay(endpoint, { eventId })).status).toBe(202)
    await bench.quiet()
    expect(idsAt('/a')).toEqual([eventId])
    expect(idsAt('/b')).toEqual([])
  })

  it('of a range brings what the endpoint wants of it, step by step, also from before the endpoint', async () => {
    const tenant = await buildTenant(world.db)
    const as = world.keyOf(tenant)
    await world.recordEvent({ tenantId: tenant, data: { n: 'too early' } })
    const since = await now()
    const wanted: string[] = []
    for (let n = 0; n < 450; n++) {
      wanted.push(publicId('evt', await world.recordEvent({ tenantId: tenant, data: { n } })))
      if (n % 9 === 0) await world.recordEvent({ tenantId: tenant, type: 'message.read' })
    }
    const until = await now()
    await world.recordEvent({ tenantId: tenant, data: { n: 'too late' } })
    const endpoint = await bench.register({ events: ['message.received'] }, { as })
    const { body } = await replay(endpoint, { since, until }, as)
    expect(body).toEqual({ count: wanted.length })
    await bench.work()
    await bench.got(wanted.length)
    await bench.quiet()
    expect(idsAt('/hook').toSorted()).toEqual(wanted.toSorted())
    const unfinished = sql`select from replay where finished_at is null`
    expect(await world.db.query(unfinished)).toEqual([])
  })

  it('of a range goes on where its worker died', async () => {
    const tenant = await buildTenant(world.db)
    const as = world.keyOf(tenant)
    const ids: string[] = []
    for (let n = 0; n < 450; n++) ids.push(publicId('evt', await world.recordEvent({ tenantId: tenant })))
    const endpoint = await bench.register({}, { as })
    await replay(endpoint, { since: LONG_AGO }, as)
    // As if a worker had done the first step and died: its job is ready again.
    await world.db.execute(sql`
      update replay set after_seq = (select seq + 299 from event where tenant_id = ${tenant} order by seq limit 1)
      where tenant_id = ${tenant}`)
    await bench.work()
    await bench.quiet()
    expect(idsAt('/hook').toSorted()).toEqual(ids.slice(300).toSorted())
  })

  it('of all that failed brings just that, and nothing twice when it is asked for twice', async () => {
    const endpoint = await bench.register()
    bench.receiver.answerWith(({ payload, count }) => (payload.data.bad && count === 1 ? 500 : 200))
    await bench.work()
    const bad: string[] = []
    for (let n = 0; n < 8; n++) {
      const id = publicId('evt', await world.recordEvent({ data: { bad: n % 2 === 0 } }))
      if (n % 2 === 0) bad.push(id)
    }
    await bench.got(8)
    await eventually(async () => {
      const deliveries = await bench.deliveriesOf(endpoint)
      return deliveries.length === 8 && deliveries.every(({ attemptCount }) => attemptCount === 1)
    }, 'all were tried')
    // One of them has been given up, the others wait for their second try.
    await world.db.execute(sql`
      update delivery set status = 'exhausted', settled_at = now(), next_attempt_at = null
      where id = (select id from delivery where status = 'pending' order by id limit 1)`)
    expect((await replay(endpoint, { onlyFailed: true, since: LONG_AGO })).body).toEqual({ count: bad.length })
    await bench.got(8 + bad.length)
    await world.makeDue()
    await bench.quiet()
    expect(
      bench.receiver.verified
        .slice(8)
        .map(({ id }) => id)
        .toSorted(),
    ).toEqual(bad.toSorted())
    expect((await replay(endpoint, { onlyFailed: true, since: LONG_AGO })).body).toEqual({ count: 0 })
  })

  it('leaves alone what is on its way for the first time', async () => {
    const endpoint = await bench.register()
    const since = await now()
    await world.recordEvent()
    bench.receiver.answerWith(({ count }) => ({ status: 200, afterMs: count === 1 ? 500 : 0 }))
    await bench.work()
    await bench.got(1)
    await replay(endpoint, { since })
    await bench.quiet()
    expect(bench.receiver.verified).toHaveLength(1)
  })
})

describe('a replay is refused', () => {
  let endpoint: RegisteredEndpoint
  const future = new Date(Date.now() + 3_600_000).toISOString()

  it.each([
    [{}, '/since'],
    [{ onlyFailed: true }, '/since'],
    [{ since: 'yesterday' }, '/since'],
    [{ since: '2026-11-20' }, '/since'],
    [{ since: future }, '/since'],
    [{ since: '2026-11-20T12:00:00Z', until: '2026-11-20T12:00:00Z' }, '/until'],
    [{ since: '2026-11-20T12:00:00Z', until: '2026-11-20T11:00:00+01:00' }, '/until'],
    [{ until: '2026-11-20T12:00:00Z' }, '/since'],
    [{ eventId: 'msg_01J8Z3V9K7QW5XN2M4T6R8Y0BC' }, '/eventId'],
    [{ eventId: 'evt_01J8Z3V9K7QW5XN2M4T6R8Y0BC', since: LONG_AGO }, '/since'],
    [{ eventId: 'evt_01J8Z3V9K7QW5XN2M4T6R8Y0BC', onlyFailed: true }, '/onlyFailed'],
    [{ since: LONG_AGO, onlyFailed: 'yes' }, '/onlyFailed'],
    [{ since: LONG_AGO, force: true }, '/force'],
  ])('for %j, naming the field %s', async (body, pointer) => {
    endpoint = await bench.register()
    const answer = await replay(endpoint, body)
    expect(answer).toMatchObject({ status: 400, body: { code: 'invalid_request' } })
    expect(answer.body.errors.map((error: { pointer: string }) => error.pointer)).toContain(pointer)
  })

  it('without a body', async () => {
    endpoint = await bench.register()
    expect((await replay(endpoint, undefined)).body.code).toBe('invalid_request')
  })

  it('for an event, or an endpoint, that is not there or another tenant has', async () => {
    endpoint = await bench.register()
    const other = await buildTenant(world.db)
    const foreign = publicId('evt', await world.recordEvent({ tenantId: other }))
    const internal = publicId('evt', await world.recordEvent({ type: 'message.queued' }))
    for (const eventId of [foreign, internal, 'evt_01J8Z3V9K7QW5XN2M4T6R8Y0BC']) {
      const { status, body } = await replay(endpoint, { eventId })
      expect(status).toBe(404)
      expect(body.errors).toMatchObject([{ pointer: '/eventId' }])
    }
    expect((await replay(endpoint, { since: LONG_AGO }, world.keyOf(other))).status).toBe(404)
    const reader = world.keyOf(world.tenantId, ['read', 'send'])
    expect((await replay(endpoint, { since: LONG_AGO }, reader)).status).toBe(403)
  })

  it('to an endpoint that is disabled', async () => {
    endpoint = await bench.register()
    await world.api('PATCH', `/api/webhooks/${endpoint.id}`, { body: { enabled: false } })
    expect(await replay(endpoint, { since: LONG_AGO })).toMatchObject({ status: 409, body: { code: 'conflict' } })
  })

  it('for more events than one may be about, and nothing of it is begun', async () => {
    const tenant = await buildTenant(world.db)
    const as = world.keyOf(tenant)
    await world.db.execute(sql`
      insert into event (id, tenant_id, seq, type)
      select uuid_v7(), ${tenant}, n, 'message.received' from generate_series(1, ${MAX_REPLAYED + 1}) n`)
    await world.db.execute(sql`
      insert into event_counter (tenant_id, last_seq) values (${tenant}, ${MAX_REPLAYED + 1})`)
    endpoint = await bench.register({}, { as })
    const { status, body } = await replay(endpoint, { since: LONG_AGO }, as)
    expect(status).toBe(400)
    expect(body.errors).toMatchObject([{ pointer: '/since' }])
    expect(await world.db.query(sql`select from replay where tenant_id = ${tenant}`)).toEqual([])
  })
})
