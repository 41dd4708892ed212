import { randomUUID } from 'node:crypto'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { eventually } from '../../../test/support/eventually.js'
import { buildInstance } from '../../../test/support/factories.js'
import { useWebhookBench } from '../../../test/support/webhook-bench.js'
import { createWebhookWorld, type WebhookWorld } from '../../../test/support/webhook-world.js'
import { type EventId, publicId } from '../../kernel/ids.js'
import { createFanOut } from './fan-out.js'
import { MAX_ATTEMPTS } from './retry-schedule.js'

let world: WebhookWorld
beforeAll(async () => {
  world = await createWebhookWorld()
})
afterAll(() => world.stop())

const bench = useWebhookBench(() => world)
const record = (subjectId: string, data: Record<string, unknown>) =>
  world.recordEvent({ type: 'contact.updated', subjectId, data })
const at = (path: string) => bench.receiver.verified.filter((one) => one.path === path)

/** Lets time pass until no delivery is left to be made. */
const untilAllDone = () =>
  eventually(async () => {
    await world.makeDue()
    return (
      (await world.db.query(sql`select from job where state <> 'dead' and kind <> 'release-deliveries'`)).length === 0
    )
  }, 'nothing is left to be delivered')

/** Two messages of one chat and one of another, as rows. */
async function buildMessages() {
  const instanceId = await buildInstance(world.db, world.tenantId)
  const [chat, other, first, second, third] = Array.from({ length: 5 }, () => randomUUID())
  for (const [id, group] of [
    [chat, 'one@g.us'],
    [other, 'other@g.us'],
  ]) {
    await world.db.execute(sql`
      insert into chat (id, tenant_id, instance_id, group_jid) values (${id}, ${world.tenantId}, ${instanceId}, ${group})`)
  }
  for (const [id, of] of [
    [first, chat],
    [second, chat],
    [third, other],
  ]) {
    await world.db.execute(sql`
      insert into message (id, tenant_id, instance_id, chat_id, direction, whatsapp_id, type, content, origin, status)
      values (${id}, ${world.tenantId}, ${instanceId}, ${of}, 'outbound', ${id}, 'text', '{}', 'api', 'sent')`)
  }
  return { first, second, third } as { first: string; second: string; third: string }
}

describe('at an ordered endpoint', () => {
  it('an event waits until the one before it in its chat was delivered; other chats and endpoints do not', async () => {
    const ordered = await bench.register({ url: bench.receiver.at('/ordered'), ordered: true })
    expect(ordered).toMatchObject({ ordered: true })
    await bench.register({ url: bench.receiver.at('/free') })
    bench.receiver.answerWith(({ path, payload, count }) =>
      path === '/ordered' && payload.data.n === 1 && count === 1 ? 503 : 200,
    )
    await bench.work()
    const { first, second, third } = await buildMessages()
    await world.recordEvent({ type: 'message.sent', subjectId: first, data: { n: 1 } })
    await bench.deliveryOf(ordered, 1)
    await world.recordEvent({ type: 'message.sent', subjectId: second, data: { n: 2 } })
    await world.recordEvent({ type: 'message.sent', subjectId: third, data: { n: 3 } })
    await bench.receiver.waitFor(
      () => at('/free').length === 3 && at('/ordered').length === 2,
      'the other chat, and the other endpoint, have all of it',
    )
    expect(at('/ordered').map(({ payload }) => payload.data.n)).toEqual([1, 3])
    await untilAllDone()
    expect(at('/ordered').map(({ payload }) => payload.data.n)).toEqual([1, 3, 1, 2])
  })

  it('an event follows one that was given up', async () => {
    const endpoint = await bench.register({ ordered: true, events: ['contact.updated'] })
    bench.receiver.answerWith(({ payload }) => (payload.data.n === 1 ? 500 : 200))
    await bench.work()
    const chat = randomUUID()
    await record(chat, { n: 1 })
    await bench.deliveryOf(endpoint, 1)
    await record(chat, { n: 2 })
    await untilAllDone()
    const arrived = at('/hook').map(({ payload }) => payload.data.n)
    expect(arrived).toEqual([...Array.from({ length: MAX_ATTEMPTS }, () => 1), 2])
  })

  it('the order is that of the events, in whatever order they are fanned out', async () => {
    await bench.register({ ordered: true })
    const chat = randomUUID()
    const ids: EventId[] = []
    for (let n = 0; n < 5; n++) ids.push(await record(chat, { n }))
    // The last one is fanned out first, by some worker.
    const fanOut = createFanOut(world)
    for (const id of ids.toReversed()) {
      const job = { jobId: world.ids.next('job'), kind: 'fan-out', tenantId: world.tenantId, id, attempt: 1 } as const
      await fanOut(job, new AbortController().signal)
    }
    const queued = await world.db.query<{ event_id: string }>(sql`
      select d.event_id from job j join delivery d on d.id = j.subject_id where j.kind = 'deliver-webhook' order by j.seq`)
    expect(queued.map(({ event_id }) => event_id)).toEqual(ids)
  })

  it('every chat keeps its order under bursts, two workers and failures', async () => {
    await bench.register({ ordered: true })
    const chats = Array.from({ length: 6 }, () => randomUUID())
    const accepted = new Map<number, number[]>(chats.map((_, chat) => [chat, []]))
    bench.receiver.answerWith(({ payload: { data }, count }) => {
      // Each fifth fails at first, but never so many that the circuit opens.
      if (count === 1 && (data.chat + data.n) % 5 === 0) return 500
      accepted.get(data.chat)?.push(data.n)
      return 200
    })
    await bench.work()
    await bench.work()
    await Promise.all(
      chats.map(async (subjectId, chat) => {
        for (let n = 0; n < 15; n++) await record(subjectId, { chat, n })
      }),
    )
    await untilAllDone()
    for (const [, order] of accepted) expect(order).toEqual(Array.from({ length: 15 }, (_, n) => n))
  })

  it('what was recorded while it was disabled is not made up for; what comes after it is', async () => {
    const endpoint = await bench.register({ ordered: true })
    await bench.register({ url: bench.receiver.at('/free') })
    await bench.work()
    const path = `/api/webhooks/${endpoint.id}`
    await world.api('PATCH', path, { body: { enabled: false } })
    await record(randomUUID(), { n: 'meanwhile' })
    await bench.quiet()
    await world.api('PATCH', path, { body: { enabled: true } })
    const later = await record(randomUUID(), { n: 'later' })
    await bench.quiet()
    expect(at('/hook').map(({ id }) => id)).toEqual([publicId('evt', later)])
  })

  it('what is replayed comes in the order of its events', async () => {
    const chat = randomUUID()
    const ids: string[] = []
    for (let n = 0; n < 20; n++) ids.push(publicId('evt', await record(chat, { n })))
    const endpoint = await bench.register({ ordered: true, events: ['contact.updated'] })
    const [oldest] = await world.db.query<{ at: Date }>(sql`
      select created_at as at from event where subject_id = ${chat} order by seq limit 1`)
    await bench.work()
    await world.api('POST', `/api/webhooks/${endpoint.id}/replay`, { body: { since: oldest?.at.toISOString() } })
    await bench.got(20)
    await bench.quiet()
    expect(at('/hook').map(({ id }) => id)).toEqual(ids)
  })
})
