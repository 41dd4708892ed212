import sql from 'sql-template-tag'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { eventually } from '../../../test/support/eventually.js'
import { buildInstance, buildTenant } from '../../../test/support/factories.js'
import { useWebhookBench } from '../../../test/support/webhook-bench.js'
import { createWebhookWorld, describeWith, type WebhookWorld } from '../../../test/support/webhook-world.js'
import { systemClock } from '../../kernel/clock.js'
import { parseId, publicId } from '../../kernel/ids.js'
import { EgressError } from '../../platform/egress/egress-error.js'
import { createEgress } from '../../platform/egress/http-client.js'
import { MAX_ATTEMPTS } from './retry-schedule.js'

/** What a message event shows; a test may change it. */
let describeMessage: (data: Readonly<Record<string, unknown>>) => unknown = (data) => data

let world: WebhookWorld
beforeAll(async () => {
  world = await createWebhookWorld({ describeMessages: describeWith(({ data }) => describeMessage(data)) })
})
afterAll(() => world.stop())
beforeEach(() => {
  describeMessage = (data) => data
})

const bench = useWebhookBench(() => world)

/** Never answers; gives up with the process. */
const untilAborted = (signal: AbortSignal): Promise<never> =>
  new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(new EgressError('aborted'))))

describe('a delivery', () => {
  it('carries exactly type, timestamp and data, signed, under the id of its event', async () => {
    await bench.register()
    await bench.work()
    const eventId = await world.recordEvent({ type: 'message.sent', data: { text: 'olá ✓' } })
    await bench.got(1)
    const [delivery] = bench.receiver.verified
    expect(delivery?.id).toBe(publicId('evt', eventId))
    expect(delivery?.payload).toEqual({
      type: 'message.sent',
      timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
      data: { text: 'olá ✓' },
    })
    expect(delivery?.headers).toMatchObject({
      'content-type': 'application/json',
      'mirante-sequence': expect.stringMatching(/^\d+$/),
    })
    expect(bench.receiver.refused).toEqual([])
  })

  it('goes to every endpoint that wants the event, by type, instance and tenant, and to no other', async () => {
    const instanceId = await buildInstance(world.db, world.tenantId)
    const otherTenant = await buildTenant(world.db)
    const instance = publicId('ins', instanceId)
    await bench.register({ url: bench.receiver.at('/all') })
    await bench.register({ url: bench.receiver.at('/reads'), events: ['message.read'] })
    await bench.register({ url: bench.receiver.at('/instance'), instanceId: instance })
    await bench.register({ url: bench.receiver.at('/other-tenant') }, { as: world.keyOf(otherTenant) })
    const disabled = await bench.register({ url: bench.receiver.at('/disabled') })
    await world.api('PATCH', `/api/webhooks/${disabled.id}`, { body: { enabled: false } })
    const deleted = await bench.register({ url: bench.receiver.at('/deleted') })
    await world.api('DELETE', `/api/webhooks/${deleted.id}`)
    await bench.work()
    const sent = await world.recordEvent({ type: 'message.sent', instanceId })
    const read = await world.recordEvent({ type: 'message.read' })
    const internal = await world.recordEvent({ type: 'message.queued', instanceId })
    const foreign = await world.recordEvent({ tenantId: otherTenant, type: 'message.read', instanceId })
    await bench.quiet()
    const arrived = bench.receiver.verified.map(({ path, id }) => `${path} ${id}`)
    expect(arrived.toSorted()).toEqual(
      [
        `/all ${publicId('evt', sent)}`,
        `/all ${publicId('evt', read)}`,
        `/reads ${publicId('evt', read)}`,
        `/instance ${publicId('evt', sent)}`,
        `/other-tenant ${publicId('evt', foreign)}`,
      ].toSorted(),
    )
    expect(arrived.join()).not.toContain(publicId('evt', internal))
  })

  it('is tried again after a failure, under the same id and with the same body, until it is delivered', async () => {
    const endpoint = await bench.register()
    bench.receiver.answerWith(({ count }) => (count < 3 ? { status: 503, body: 'not now' } : 204))
    await bench.work()
    await world.recordEvent({ data: { version: 'first' } })
    await bench.deliveryOf(endpoint, 1)
    // What the event's view says later must not matter.
    describeMessage = () => ({ version: 'later' })
    for (const attempts of [1, 2]) {
      await bench.deliveryOf(endpoint, attempts)
      await world.makeDue()
    }
    const delivery = await bench.deliveryOf(endpoint, 3)
    expect(delivery).toMatchObject({ status: 'delivered', attemptCount: 3, nextAttemptAt: null })
    expect(delivery.attempts).toMatchObject([
      { number: 1, status: 503, error: 'http_503', answer: 'not now' },
      { number: 2, status: 503, error: 'http_503', answer: 'not now' },
      { number: 3, status: 204, error: null, answer: '' },
    ])
    expect(new Set(bench.receiver.verified.map(({ id }) => id)).size).toBe(1)
    expect(new Set(bench.receiver.verified.map(({ body }) => body)).size).toBe(1)
    expect(bench.receiver.verified[0]?.payload.data).toEqual({ version: 'first' })
  })

  it('survives the death of its worker between the answer and its record: again, under the same id', async () => {
    const endpoint = await bench.register()
    const egress = createEgress({ allow: ['127.0.0.0/8'], clock: systemClock })
    const dead = await world.startWorker({
      // The request went out and was answered; the process is killed before it knows.
      egress: { post: (url, request) => egress.post(url, request).then(() => untilAborted(request.signal)) },
    })
    await world.recordEvent({ data: { n: 1 } })
    await bench.got(1)
    await bench.work()
    await bench.got(2)
    await bench.quiet()
    const [first, second] = bench.receiver.verified
    expect(second?.id).toBe(first?.id)
    expect(second?.body).toBe(first?.body)
    expect(await bench.deliveryOf(endpoint, 1)).toMatchObject({ status: 'delivered' })
    await dead.stop()
    await egress.close()
  })

  it('does not follow a redirect: it is a failure', async () => {
    const endpoint = await bench.register()
    bench.receiver.answerWith({ status: 307, headers: { location: bench.receiver.at('/elsewhere') } })
    await bench.work()
    await world.recordEvent()
    expect(await bench.deliveryOf(endpoint, 1)).toMatchObject({ status: 'pending', attempts: [{ error: 'http_307' }] })
    expect(bench.receiver.verified.map(({ path }) => path)).toEqual(['/hook'])
  })

  it('waits at least as long as Retry-After asks', async () => {
    const endpoint = await bench.register()
    bench.receiver.answerWith({ status: 429, headers: { 'retry-after': '7200' } })
    await bench.work()
    await world.recordEvent()
    const { nextAttemptAt, attempts } = await bench.deliveryOf(endpoint, 1)
    expect(Date.parse(nextAttemptAt) - Date.parse(attempts[0].startedAt)).toBeGreaterThanOrEqual(7_200_000)
    const [job] = await world.db.query<{ far: boolean }>(sql`
      select due_at > now() + interval '1 hour' as far from job where kind = 'deliver-webhook'`)
    expect(job?.far).toBe(true)
  })

  it('is not sent any more after the first 410, however many wait for their turn', async () => {
    const endpoint = await bench.register()
    bench.receiver.answerWith(410)
    await world.recordEvents(Array.from({ length: 100 }, () => ({})))
    await bench.work()
    await bench.quiet()
    // Four are in flight at once, and only the first answer says it.
    expect(bench.receiver.verified.length).toBeLessThanOrEqual(4)
    for (const { status } of await bench.deliveriesOf(endpoint)) expect(status).toBe('dropped')
  })

  it('is given up where the endpoint is gone: it is disabled, and nothing more is sent', async () => {
    const endpoint = await bench.register()
    await world.recordEvent({ data: { n: 1 } })
    await world.recordEvent({ data: { n: 2 } })
    bench.receiver.answerWith(({ count }) => (count === 1 ? 410 : 200))
    await bench.work()
    await bench.quiet()
    const { body } = await world.api('GET', `/api/webhooks/${endpoint.id}`)
    expect(body).toMatchObject({ enabled: false, disabledReason: 'gone' })
    for (const delivery of await bench.deliveriesOf(endpoint)) expect(delivery.status).toBe('dropped')
    const disabled = await world.db.query(sql`
      select from event where type = 'webhook.disabled' and subject_id = ${parseId('whe', endpoint.id)}`)
    expect(disabled).toHaveLength(1)
    const seen = bench.receiver.verified.length
    await world.recordEvent()
    await bench.quiet()
    expect(bench.receiver.verified).toHaveLength(seen)
  })

  it('is dropped where its endpoint has been disabled or deleted meanwhile', async () => {
    const [disabled, deleted] = [
      await bench.register({ url: bench.receiver.at('/a') }),
      await bench.register({ url: bench.receiver.at('/b') }),
    ]
    bench.receiver.answerWith(500)
    await bench.work()
    await world.recordEvent()
    const { id } = await bench.deliveryOf(disabled, 1)
    const other = await bench.deliveryOf(deleted, 1)
    await world.api('PATCH', `/api/webhooks/${disabled.id}`, { body: { enabled: false } })
    await world.api('DELETE', `/api/webhooks/${deleted.id}`)
    await world.makeDue()
    await bench.quiet()
    for (const delivery of [id, other.id]) {
      expect((await world.api('GET', `/api/deliveries/${delivery}`)).body).toMatchObject({
        status: 'dropped',
        attemptCount: 1,
        nextAttemptAt: null,
      })
    }
    expect(bench.receiver.verified).toHaveLength(2)
  })

  it('becomes a dead letter after the last try, which is told; by hand it is tried again', async () => {
    const endpoint = await bench.register({ events: ['message.received'] })
    const watcher = await bench.register({ url: bench.receiver.at('/watch'), events: ['job.dead_lettered'] })
    bench.receiver.answerWith(({ path }) => (path === '/hook' ? 500 : 200))
    await bench.work()
    await world.recordEvent()
    for (let attempt = 1; attempt < MAX_ATTEMPTS; attempt++) {
      await bench.deliveryOf(endpoint, attempt)
      await world.makeDue()
    }
    expect(await bench.deliveryOf(endpoint, MAX_ATTEMPTS)).toMatchObject({ status: 'exhausted', nextAttemptAt: null })
    await bench.deliveryOf(watcher, 1)
    const news = bench.receiver.verified.find(({ path }) => path === '/watch')
    expect(news?.payload).toMatchObject({
      type: 'job.dead_lettered',
      data: { kind: 'deliver-webhook', attempts: MAX_ATTEMPTS, error: 'http_500', id: expect.stringMatching(/^job_/) },
    })
    const [letter] = await world.jobs.deadLetters(world.tenantId, { limit: 10 })
    bench.receiver.answerWith(200)
    if (!letter) throw new Error('no dead letter')
    // So many failures at once have opened the circuit.
    await world.makeDue()
    expect(await world.jobs.retryDead(world.tenantId, letter.jobId)).toBe(true)
    expect(await bench.deliveryOf(endpoint, MAX_ATTEMPTS + 1)).toMatchObject({ status: 'delivered' })
  })

  it('of the news that a delivery died is not news itself when it dies', async () => {
    const endpoint = await bench.register({ events: ['job.dead_lettered'] })
    bench.receiver.answerWith(500)
    await bench.work()
    await world.recordEvent({ type: 'job.dead_lettered' })
    for (let attempt = 1; attempt < MAX_ATTEMPTS; attempt++) {
      await bench.deliveryOf(endpoint, attempt)
      await world.makeDue()
    }
    await bench.deliveryOf(endpoint, MAX_ATTEMPTS)
    await bench.quiet()
    expect(await bench.deliveriesOf(endpoint)).toHaveLength(1)
  })

  it('is signed with both secrets while one is rotated, and with the new one alone afterwards', async () => {
    const endpoint = await bench.register()
    const rotated = await world.api('POST', `/api/webhooks/${endpoint.id}/rotate-secret`)
    bench.receiver.trust(rotated.body.secret)
    await bench.work()
    await world.recordEvent()
    await bench.got(1)
    expect(bench.receiver.verified[0]?.verifiedBy).toEqual([endpoint.secret, rotated.body.secret])
    await world.db.execute(sql`update webhook_endpoint set old_secret_until = now() where deleted_at is null`)
    await world.recordEvent()
    await bench.got(2)
    expect(bench.receiver.verified[1]?.verifiedBy).toEqual([rotated.body.secret])
  })

  it('of a test event goes to its endpoint only, whatever that one asked for', async () => {
    const endpoint = await bench.register({ url: bench.receiver.at('/tested'), events: ['message.read'] })
    await bench.register({ url: bench.receiver.at('/other') })
    await bench.work()
    const { status, body } = await world.api('POST', `/api/webhooks/${endpoint.id}/test`)
    expect(status).toBe(202)
    await bench.quiet()
    expect(bench.receiver.verified).toMatchObject([
      { path: '/tested', id: body.eventId, payload: { type: 'webhook.tested', data: { endpointId: endpoint.id } } },
    ])
  })

  it('is not made where the URL has come to lead somewhere forbidden', async () => {
    const endpoint = await bench.register()
    const strict = createEgress({ allow: [], clock: systemClock })
    await bench.work({ egress: strict })
    await world.recordEvent()
    expect(await bench.deliveryOf(endpoint, 1)).toMatchObject({
      status: 'pending',
      attempts: [{ status: null, error: 'refused_address', answer: null }],
    })
    expect(bench.receiver.verified).toEqual([])
    await strict.close()
  })

  it('keeps the first 2 kB of the answer, whatever is in it', async () => {
    const endpoint = await bench.register()
    bench.receiver.answerWith({ status: 400, body: `a\0${'é'.repeat(3_000)}` })
    await bench.work()
    await world.recordEvent()
    const { attempts } = await bench.deliveryOf(endpoint, 1)
    expect(attempts[0].answer).toMatch(/^aé+$/)
    expect(Buffer.byteLength(attempts[0].answer)).toBeLessThanOrEqual(2_048)
  })

  it('that was cut short by our own stop counts as no attempt', async () => {
    const endpoint = await bench.register()
    const worker = await world.startWorker({
      egress: {
        post: (_url, { signal }) => untilAborted(signal),
      },
    })
    await world.recordEvent()
    await eventually(async () => (await bench.deliveriesOf(endpoint)).length === 1, 'the delivery exists')
    await worker.stop()
    await bench.work()
    expect(await bench.deliveryOf(endpoint, 1)).toMatchObject({ status: 'delivered', attemptCount: 1 })
  })
})
