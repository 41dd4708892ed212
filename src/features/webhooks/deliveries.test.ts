import sql from 'sql-template-tag'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { useWebhookBench } from '../../../test/support/webhook-bench.js'
import { createWebhookWorld, describeWith, type WebhookWorld } from '../../../test/support/webhook-world.js'
import { publicId } from '../../kernel/ids.js'

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

describe('deliveries', () => {
  it('to a dead endpoint do not hold up those to a living one', async () => {
    await bench.register({ url: bench.receiver.at('/dead') })
    await bench.register({ url: bench.receiver.at('/alive') })
    bench.receiver.answerWith(({ path }) => ({ status: 200, afterMs: path === '/dead' ? Number.POSITIVE_INFINITY : 0 }))
    await bench.work()
    const count = 100
    await Promise.all(Array.from({ length: count }, (_, n) => world.recordEvent({ data: { n } })))
    const alive = () => bench.receiver.verified.filter(({ path }) => path === '/alive')
    await bench.receiver.waitFor(() => alive().length >= count, 'all came to the living endpoint')
    const dead = bench.receiver.verified.filter(({ path }) => path === '/dead')
    expect(dead.length).toBeLessThanOrEqual(8)
  })

  it('of a burst all arrive once, from two workers', async () => {
    const endpoint = await bench.register()
    await bench.work()
    await bench.work()
    const ids = await Promise.all(Array.from({ length: 250 }, () => world.recordEvent()))
    await bench.got(ids.length)
    await bench.quiet()
    expect(bench.receiver.verified.map(({ id }) => id).toSorted()).toEqual(
      ids.map((id) => publicId('evt', id)).toSorted(),
    )
    const stored = await world.db.query<{ status: string; n: bigint }>(sql`
      select d.status, count(*) as n from delivery d where d.status = 'delivered' and exists (
        select from attempt a where a.delivery_id = d.id) and d.event_id = any (${ids}::uuid[]) group by d.status`)
    expect(stored).toEqual([{ status: 'delivered', n: BigInt(ids.length) }])
    expect((await bench.deliveriesOf(endpoint))[0]).toMatchObject({ attemptCount: 1 })
  })

  it('of one event that cannot be shown do not hold up the others', async () => {
    await bench.register()
    describeMessage = (data) => {
      if (data.poison) throw new Error('cannot be shown')
      return data
    }
    const from = world.lines.length
    await world.recordEvent({ data: { poison: true } })
    for (let n = 0; n < 20; n++) await world.recordEvent({ data: { n } })
    await bench.work()
    await bench.got(20)
    expect(bench.receiver.verified.map(({ payload }) => payload.data.n).toSorted((a, b) => a - b)).toEqual(
      Array.from({ length: 20 }, (_, n) => n),
    )
    const failed = world.lines.slice(from).filter((line) => line.startsWith('a job failed'))
    expect(new Set(failed.map((line) => /"job":"([^"]+)"/.exec(line)?.[1])).size).toBe(1)
  })

  it('tell neither a secret nor a key, in bodies and in logs', async () => {
    const endpoint = await bench.register({ url: `${bench.receiver.url}?token=in-the-url` })
    const rotated = await world.api('POST', `/api/webhooks/${endpoint.id}/rotate-secret`)
    bench.receiver.answerWith(({ count }) => (count === 1 ? { status: 500, body: 'answer-text' } : 200))
    await bench.work()
    await world.recordEvent({ data: { text: 'private-words' } })
    await world.api('POST', `/api/webhooks/${endpoint.id}/test`)
    await bench.deliveryOf(endpoint, 1)
    await world.makeDue()
    await bench.quiet()
    const secrets = [endpoint.secret, rotated.body.secret, world.key].map((secret) => secret.replace(/^whsec_/, ''))
    for (const secret of secrets) expect(bench.receiver.verified.map(({ body }) => body).join()).not.toContain(secret)
    for (const word of [...secrets, 'in-the-url', 'private-words', 'answer-text']) {
      expect(world.lines.join('\n')).not.toContain(word)
    }
    expect(bench.receiver.verified.map(({ body }) => body).join()).not.toMatch(/apikey|whsec_/i)
  })
})
