import sql from 'sql-template-tag'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { eventually } from '../../../test/support/eventually.js'
import { type RegisteredEndpoint, useWebhookBench } from '../../../test/support/webhook-bench.js'
import { createWebhookWorld, type WebhookWorld } from '../../../test/support/webhook-world.js'
import { systemClock } from '../../kernel/clock.js'
import { parseId, publicId, type WebhookId } from '../../kernel/ids.js'
import { silentLogger } from '../../kernel/logger.js'
import type { Database } from '../../platform/database/database.js'
import { closedCircuit } from './circuit.js'
import type { Parcel } from './delivery-store.js'
import { createEndpointCircuits, type EndpointCircuits } from './endpoint-circuits.js'
import { createReleaseSweep } from './release-deliveries.js'

let world: WebhookWorld
/** Whether the endpoint at /hook answers well. */
let isWell = false
beforeAll(async () => {
  world = await createWebhookWorld()
})
afterAll(() => world.stop())

const bench = useWebhookBench(() => world)
beforeEach(() => {
  isWell = false
  bench.receiver.answerWith(({ path }) => (path !== '/hook' || isWell ? 200 : 500))
})

const circuitOf = async (endpoint: RegisteredEndpoint) =>
  (await world.api('GET', `/api/webhooks/${endpoint.id}`)).body.circuit
const parked = async (): Promise<number> =>
  (await world.db.query(sql`select from delivery where parked_after is not null`)).length
function rowIdOf(publicEndpointId: string): WebhookId {
  const id = parseId('whe', publicEndpointId)
  if (!id) throw new Error('not the id of an endpoint')
  return id
}
const failureCount = async ({ id }: RegisteredEndpoint): Promise<number> => {
  const [row] = await world.db.query<{ failure_count: number }>(sql`
    select failure_count from endpoint_circuit where endpoint_id = ${rowIdOf(id)}`)
  return row?.failure_count ?? 0
}
const triedOf = async ({ id }: RegisteredEndpoint): Promise<number> =>
  (
    await world.db.query(sql`
      select from delivery where endpoint_id = ${rowIdOf(id)} and attempt_count > 0`)
  ).length
/** As a worker has them. */
const circuitsOver = (db: Database): EndpointCircuits =>
  createEndpointCircuits({
    ...{ db, jobs: world.jobs, ids: world.ids, clock: systemClock, random: Math.random, logger: silentLogger },
  })
/** One that was loaded while the endpoint was well. */
const parcelOf = ({ id }: RegisteredEndpoint): Parcel =>
  ({ tenantId: world.tenantId, endpoint: { id: rowIdOf(id), circuit: closedCircuit } }) as Parcel
const atHook = () => bench.receiver.verified.filter(({ path }) => path === '/hook')

/** An endpoint whose circuit is open, with so many deliveries that wait for it. */
async function openCircuit(waiting = 5): Promise<RegisteredEndpoint> {
  const endpoint = await bench.register()
  await bench.work()
  for (let n = 0; n < 10; n++) await world.recordEvent({ data: { n } })
  await eventually(async () => (await circuitOf(endpoint)).state === 'open', 'the circuit is open')
  const tried = atHook().length
  await world.recordEvents(Array.from({ length: waiting }, (_, n) => ({ data: { waiting: n } })))
  await eventually(async () => (await parked()) >= waiting, 'what came later waits')
  expect(atHook()).toHaveLength(tried)
  return endpoint
}

describe('a circuit', () => {
  it('opens after ten failures, is shown, and what comes then waits without a try', async () => {
    const endpoint = await openCircuit()
    expect(atHook().length).toBeLessThanOrEqual(10 + 3)
    expect(await circuitOf(endpoint)).toEqual({
      state: 'open',
      openedAt: expect.any(String),
      nextProbeAt: expect.any(String),
      failingSince: expect.any(String),
    })
    const [newest] = await bench.deliveriesOf(endpoint)
    expect(newest).toMatchObject({ status: 'pending', attemptCount: 0, waitsForCircuit: true, nextAttemptAt: null })
    const jobs = await world.db.query(sql`
      select from job where kind = 'deliver-webhook'
        and subject_id in (select id from delivery where parked_after is not null)`)
    expect(jobs).toEqual([])
  })

  it('is open to nobody who waited for a seat: of a burst no more is tried than were in flight', async () => {
    const endpoint = await bench.register()
    await world.recordEvents(Array.from({ length: 150 }, () => ({})))
    await bench.work()
    await eventually(async () => (await circuitOf(endpoint)).state === 'open', 'the circuit is open')
    await eventually(async () => (await parked()) >= 150 - 13, 'the others wait')
    expect(atHook().length).toBeLessThanOrEqual(10 + 3)
  })

  it('opens after ten failures in a row of which no worker has seen more than three', async () => {
    const endpoint = await bench.register()
    const workers = Array.from({ length: 4 }, () => circuitsOver(world.db))
    for (let n = 1; n <= 10; n++) {
      expect((await circuitOf(endpoint)).state).toBe('closed')
      const circuits = workers[n % 4] as EndpointCircuits
      const isBad = circuits.count(parcelOf(endpoint), false)
      expect(isBad).toBe(false)
      await circuits.failed(parcelOf(endpoint), isBad)
    }
    expect((await circuitOf(endpoint)).state).toBe('open')
  })

  it('stays closed where three in ten fail, also for a burst that was loaded before the first of them', async () => {
    const endpoint = await bench.register()
    bench.receiver.answerWith(({ payload, count }) => (payload.data.n % 10 < 3 && count === 1 ? 500 : 200))
    await world.recordEvents(Array.from({ length: 150 }, (_, n) => ({ data: { n } })))
    await bench.work()
    await bench.receiver.waitFor(() => atHook().length >= 150, 'all were tried')
    await eventually(async () => (await triedOf(endpoint)) === 150, 'all tries are written down')
    expect((await circuitOf(endpoint)).state).toBe('closed')
  })

  it('is closed in few transactions, however many succeed at once', async () => {
    const endpoint = await bench.register()
    let transactions = 0
    const counting: Database = {
      ...world.db,
      tx: (work) => {
        transactions += 1
        return world.db.tx(work)
      },
    }
    const circuits = circuitsOver(counting)
    const parcel = parcelOf(endpoint)
    await circuits.failed(parcel, false)
    const loadedLater = { ...parcel.endpoint, circuit: { ...closedCircuit, failingSince: new Date() } }
    await Promise.all(Array.from({ length: 80 }, () => circuits.succeeded({ ...parcel, endpoint: loadedLater })))
    expect(transactions).toBeLessThanOrEqual(2)
    expect(await failureCount(endpoint)).toBe(0)
  })

  it('of one endpoint is nothing to another', async () => {
    await openCircuit()
    await bench.register({ url: bench.receiver.at('/other') })
    const ids = await Promise.all(Array.from({ length: 20 }, () => world.recordEvent()))
    const arrived = () => bench.receiver.verified.filter(({ path }) => path === '/other').map(({ id }) => id)
    await bench.receiver.waitFor(() => arrived().length >= ids.length, 'all came to the other endpoint')
    expect(arrived().toSorted()).toEqual(ids.map((id) => publicId('evt', id)).toSorted())
  })

  it('lets one delivery probe at a time, and stays open when that fails', async () => {
    const endpoint = await openCircuit()
    for (let probe = 1; probe <= 3; probe++) {
      const before = atHook().length
      // Only what waits: the others are far down their schedules, which a probe does not shorten.
      await world.db.execute(sql`update endpoint_circuit set probe_at = now()`)
      await world.db.execute(sql`
        with due as (update job set due_at = now() where kind = 'release-deliveries' and state = 'ready' returning kind)
        select pg_notify('mirante_job', kind) from due`)
      await bench.receiver.waitFor(() => atHook().length > before, 'a probe was made')
      await eventually(async () => (await circuitOf(endpoint)).state === 'open', 'it is open again')
      expect(atHook()).toHaveLength(before + 1)
    }
    expect(await parked()).toBe(2)
  })

  it('is closed by the first success, and all that waited arrives, once', async () => {
    const endpoint = await openCircuit(450)
    isWell = true
    await world.makeDue()
    await eventually(async () => (await circuitOf(endpoint)).state === 'closed', 'it is closed')
    await world.makeDue()
    await bench.quiet()
    expect(await parked()).toBe(0)
    const statuses = await world.db.query<{ status: string; n: bigint }>(sql`
      select status, count(*) as n from delivery d join webhook_endpoint w on w.id = d.endpoint_id
      where w.deleted_at is null group by status`)
    expect(statuses).toEqual([{ status: 'delivered', n: 460n }])
    const waited = atHook().filter(({ payload }) => 'waiting' in payload.data)
    expect(waited.map(({ payload }) => payload.data.waiting).toSorted((a, b) => a - b)).toEqual(
      Array.from({ length: 450 }, (_, n) => n),
    )
    expect((await circuitOf(endpoint)).failingSince).toBeNull()
  })

  it('takes no try from what waits: its schedule goes on where it was', async () => {
    const endpoint = await openCircuit(0)
    await eventually(async () => {
      const ready = sql`select from job where kind = 'deliver-webhook' and state = 'ready' and attempt = 1`
      return (await world.db.query(ready)).length >= 10
    }, 'ten deliveries have one try behind them')
    // All of them are due: one becomes the probe, the others are put aside.
    await world.makeDue()
    await eventually(async () => (await parked()) >= 9, 'they wait')
    const tries = await world.db.query<{ parked_after: number }>(sql`
      select distinct parked_after from delivery where parked_after is not null`)
    expect(tries).toEqual([{ parked_after: 1 }])
    await world.api('PATCH', `/api/webhooks/${endpoint.id}`, { body: { enabled: true } })
    await eventually(async () => (await parked()) === 0, 'they were released')
    await eventually(async () => {
      const second = sql`select from job where kind = 'deliver-webhook' and state = 'ready' and attempt = 2
        and due_at > now() + interval '2 minutes'`
      return (await world.db.query(second)).length >= 9
    }, 'their second try has failed, and the third is minutes away')
  })

  it('is closed by its owner who enables the endpoint', async () => {
    const endpoint = await openCircuit()
    isWell = true
    await world.api('PATCH', `/api/webhooks/${endpoint.id}`, { body: { enabled: true } })
    expect((await circuitOf(endpoint)).state).toBe('closed')
    await eventually(async () => (await parked()) === 0, 'all that waited is on its way')
  })

  it('does not hold what waits when its job is lost: a sweep makes another', async () => {
    await openCircuit()
    isWell = true
    await world.db.execute(sql`delete from job where kind = 'release-deliveries'`)
    await world.db.execute(sql`update endpoint_circuit set probe_at = now()`)
    await createReleaseSweep({ db: world.db, jobs: world.jobs })()
    await eventually(async () => (await parked()) === 0, 'all that waited is on its way')
  })

  it('goes on after a probe that was lost with its worker', async () => {
    const endpoint = await openCircuit()
    await world.db.execute(sql`
      update endpoint_circuit set state = 'half_open', probe_delivery_id = ${world.ids.next('dlv')}, probe_at = now()
        - interval '1 ms'`)
    isWell = true
    await createReleaseSweep({ db: world.db, jobs: world.jobs })()
    await world.makeDue()
    await eventually(async () => (await circuitOf(endpoint)).state === 'closed', 'another probe was made')
  })

  it('of an ordered endpoint keeps the order of its chats', async () => {
    const endpoint = await bench.register({ ordered: true })
    await bench.work()
    const chats = Array.from({ length: 12 }, () => world.ids.next('con'))
    const accepted = new Map<number, number[]>(chats.map((_, chat) => [chat, []]))
    bench.receiver.answerWith(({ payload: { data } }) => {
      if (!isWell) return 500
      accepted.get(data.chat)?.push(data.n)
      return 200
    })
    for (let n = 0; n < 3; n++) {
      for (const [chat, subjectId] of chats.entries()) {
        await world.recordEvent({ type: 'contact.updated', subjectId, data: { chat, n } })
      }
    }
    await eventually(async () => (await circuitOf(endpoint)).state === 'open', 'the circuit is open')
    isWell = true
    await eventually(async () => {
      await world.makeDue()
      return (await world.db.query(sql`select from job where kind = 'deliver-webhook'`)).length === 0
    }, 'nothing is left')
    for (const [, order] of accepted) expect(order).toEqual([0, 1, 2])
    expect((await circuitOf(endpoint)).state).toBe('closed')
  })
})

describe('an endpoint that has failed for five days', () => {
  it('is disabled, its owner is told by the other endpoints, and nothing is left waiting', async () => {
    const endpoint = await openCircuit()
    await bench.register({ url: bench.receiver.at('/watch'), events: ['webhook.disabled'] })
    await world.db.execute(sql`update endpoint_circuit set failing_since = now() - interval '5 days 1 minute'`)
    await world.makeDue()
    const told = () => bench.receiver.verified.filter(({ path }) => path === '/watch')
    await bench.receiver.waitFor(() => told().length > 0, 'the other endpoint is told')
    expect(told()[0]?.payload).toMatchObject({
      type: 'webhook.disabled',
      data: { endpointId: endpoint.id, reason: 'failing', failingSince: expect.any(String) },
    })
    expect((await world.api('GET', `/api/webhooks/${endpoint.id}`)).body).toMatchObject({
      enabled: false,
      disabledReason: 'failing',
    })
    await world.makeDue()
    await bench.quiet()
    for (const { status } of await bench.deliveriesOf(endpoint)) expect(status).toBe('dropped')
  })
})
