import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Clock } from '../../kernel/clock.js'
import { createIdGenerator } from '../../kernel/ids.js'
import { seededRandom } from '../../kernel/random.js'
import { type Admission, createDeliveryGate, gateLimits, type Visitor } from './delivery-gate.js'

const ids = createIdGenerator()

/** A clock that stands still until it is told to go on. */
function handClock(): Clock & { advance(ms: number): Promise<void> } {
  let now = 1_000
  const sleepers = new Set<{ at: number; wake: () => void }>()
  return {
    now: () => now,
    mono: () => now,
    sleep: (ms, signal) =>
      new Promise((resolve, reject) => {
        const sleeper = { at: now + ms, wake: resolve }
        sleepers.add(sleeper)
        signal?.addEventListener('abort', () => {
          sleepers.delete(sleeper)
          reject(new Error('aborted'))
        })
      }),
    async advance(ms) {
      now += ms
      for (const sleeper of [...sleepers].filter(({ at }) => at <= now)) {
        sleepers.delete(sleeper)
        sleeper.wake()
      }
      await settled()
    },
  }
}

/** Promise callbacks that are ready have run. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

function setUp() {
  const clock = handClock()
  const gate = createDeliveryGate({ clock, random: seededRandom(1) })
  const visits: { visitor: Visitor; admission?: Admission }[] = []
  return {
    clock,
    gate,
    visits,
    async visit(visitor: Visitor) {
      const visit: { visitor: Visitor; admission?: Admission } = { visitor }
      visits.push(visit)
      void gate.enter(visitor).then((admission) => {
        visit.admission = admission
      })
      await settled()
      return visit
    },
    inside: (visitor?: Visitor) =>
      visits.filter((visit) => visit.admission?.admitted && (!visitor || visit.visitor === visitor)),
  }
}

const endpoint = (tenantId = ids.next('ten')): Visitor => ({ tenantId, endpointId: ids.next('whe'), failureCount: 0 })

/** Lets a visitor that is inside go. */
function leave(bundle: ReturnType<typeof setUp>, visitor: Visitor): void {
  const [visit] = bundle.inside(visitor)
  if (!visit?.admission?.admitted) throw new Error('nobody of this endpoint is inside')
  bundle.visits.splice(bundle.visits.indexOf(visit), 1)
  visit.admission.leave()
}

/** Lets an endpoint show that it answers quickly. */
async function prove(bundle: ReturnType<typeof setUp>, visitor: Visitor): Promise<void> {
  await bundle.visit(visitor)
  await bundle.clock.advance(5)
  leave(bundle, visitor)
}

describe('the delivery gate', () => {
  it('admits no more of one endpoint than its seats, and the next when one leaves', async () => {
    const bundle = setUp()
    const visitor = endpoint()
    for (let n = 0; n < gateLimits.perEndpoint + 1; n++) await bundle.visit(visitor)
    expect(bundle.inside(visitor)).toHaveLength(gateLimits.perEndpoint)
    leave(bundle, visitor)
    await settled()
    expect(bundle.inside(visitor)).toHaveLength(gateLimits.perEndpoint)
  })

  it('lets no more than ten tries of one that only fails begin before its tenth failure', async () => {
    const bundle = setUp()
    const visitor = endpoint()
    for (let n = 0; n < 40; n++) await bundle.visit(visitor)
    for (let failures = 1; failures <= 10; failures++) {
      bundle.gate.note(visitor.endpointId, false)
      leave(bundle, visitor)
      await settled()
      expect(bundle.inside(visitor)).toHaveLength(Math.min(4, 10 - failures))
    }
    await bundle.clock.advance(2_000)
    for (let n = 0; n < 5; n++) await bundle.visit(visitor)
    expect(bundle.inside(visitor)).toHaveLength(1)
    bundle.gate.note(visitor.endpointId, true)
    leave(bundle, visitor)
    await settled()
    expect(bundle.inside(visitor)).toHaveLength(4)
  })

  it('knows what other workers have counted', async () => {
    const bundle = setUp()
    const visitor = { ...endpoint(), failureCount: 8 }
    for (let n = 0; n < 5; n++) await bundle.visit(visitor)
    expect(bundle.inside(visitor)).toHaveLength(2)
  })

  it('leaves a seat for a quick endpoint beside any number of dead ones of the same tenant', async () => {
    const bundle = setUp()
    const tenantId = ids.next('ten')
    const quick = endpoint(tenantId)
    await prove(bundle, quick)
    for (let n = 0; n < 50; n++) await bundle.visit(endpoint(tenantId))
    const visit = await bundle.visit(quick)
    expect(visit.admission?.admitted).toBe(true)
  })

  it('leaves a seat for a quick endpoint beside any number of tenants with dead ones', async () => {
    const bundle = setUp()
    const quick = endpoint()
    await prove(bundle, quick)
    for (let n = 0; n < 200; n++) await bundle.visit(endpoint())
    expect(bundle.inside()).toHaveLength(gateLimits.total / 2)
    expect((await bundle.visit(quick)).admission?.admitted).toBe(true)
  })

  it('sends visitors of an endpoint that does not answer away, instead of keeping them', async () => {
    const bundle = setUp()
    const dead = endpoint()
    for (let n = 0; n < gateLimits.perEndpoint; n++) await bundle.visit(dead)
    await bundle.clock.advance(10_000)
    const late = await bundle.visit(dead)
    expect(late.admission?.admitted).toBe(false)
  })

  it('keeps nobody waiting for longer than the limit', async () => {
    const bundle = setUp()
    const dead = endpoint()
    for (let n = 0; n < 20; n++) await bundle.visit(dead)
    await bundle.clock.advance(gateLimits.maxWaitMs)
    expect(bundle.visits.every(({ admission }) => admission !== undefined)).toBe(true)
  })

  it('spreads those that it sends away over the turns to come, within the horizon', async () => {
    const bundle = setUp()
    const dead = endpoint()
    for (let n = 0; n < gateLimits.perEndpoint; n++) await bundle.visit(dead)
    await bundle.clock.advance(10_000)
    for (let n = 0; n < 200; n++) await bundle.visit(dead)
    const delays = bundle.visits.flatMap(({ admission }) =>
      admission?.admitted === false ? [admission.comeBackInMs] : [],
    )
    expect(delays).toHaveLength(200)
    expect(Math.max(...delays)).toBeLessThanOrEqual(gateLimits.maxAwayMs)
    expect(new Set(delays).size).toBeGreaterThan(190)
  })

  it('admits nobody of an endpoint that rests, not even who waited, and others as before', async () => {
    const bundle = setUp()
    const [dead, other] = [endpoint(), endpoint()]
    for (let n = 0; n < gateLimits.perEndpoint + 6; n++) await bundle.visit(dead)
    bundle.gate.rest(dead.endpointId)
    leave(bundle, dead)
    const late = await bundle.visit(dead)
    expect(bundle.inside(dead)).toHaveLength(gateLimits.perEndpoint - 1)
    expect(late.admission?.admitted).toBe(false)
    const away = bundle.visits.flatMap(({ admission }) =>
      admission?.admitted === false ? [admission.comeBackInMs] : [],
    )
    expect(away).toHaveLength(7)
    for (const comeBackInMs of away) expect(comeBackInMs).toBeGreaterThanOrEqual(gateLimits.restMs)
    expect((await bundle.visit(other)).admission?.admitted).toBe(true)

    await bundle.clock.advance(gateLimits.restMs)
    expect((await bundle.visit(dead)).admission?.admitted).toBe(true)
  })

  it('keeps every limit, and serves or answers every visitor, whatever comes and goes', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ who: fc.nat(11), leaves: fc.boolean(), afterMs: fc.integer({ min: 0, max: 400 }) }), {
          maxLength: 150,
        }),
        async (steps) => {
          const bundle = setUp()
          const tenants = [ids.next('ten'), ids.next('ten')] as const
          const endpoints = Array.from({ length: 12 }, (_, n) => endpoint(tenants[n < 9 ? 0 : 1]))
          for (const { who, leaves, afterMs } of steps) {
            const visitor = endpoints[who] as Visitor
            if (leaves && bundle.inside(visitor).length > 0) leave(bundle, visitor)
            else await bundle.visit(visitor)
            await bundle.clock.advance(afterMs)
            expect(bundle.inside(visitor).length).toBeLessThanOrEqual(gateLimits.perEndpoint)
            const ofTenant = bundle.inside().filter((visit) => visit.visitor.tenantId === tenants[0])
            expect(ofTenant.length).toBeLessThanOrEqual(gateLimits.perTenant)
          }
          await bundle.clock.advance(gateLimits.maxWaitMs)
          expect(bundle.visits.every(({ admission }) => admission !== undefined)).toBe(true)
        },
      ),
      { numRuns: 40 },
    )
  })
})
