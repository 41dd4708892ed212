import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Incarnation } from '../../platform/leases/lease.js'
import { type GatewayLoad, roomOf, sharesOf, surplusOf } from './placement.js'

const gateway = (id: string, held: number, overrides: Partial<GatewayLoad> = {}): GatewayLoad => ({
  ...{ id: id as Incarnation, replica: id, held, capacity: 200, takes: true, ageMs: 600_000 },
  ...overrides,
})
const settleMs = 10_000
const shares = (gateways: readonly GatewayLoad[], wanted: number) => Object.fromEntries(sharesOf(gateways, wanted))
const surplus = (gateways: readonly GatewayLoad[], wanted: number) =>
  Object.fromEntries(gateways.map(({ id }) => [id, surplusOf(id, gateways, { wanted, settleMs })]))

describe('the shares', () => {
  it('are even, and what does not divide stays with those that hold most', () => {
    expect(shares([gateway('a', 10), gateway('b', 80), gateway('c', 10)], 100)).toEqual({ a: 33, b: 34, c: 33 })
    expect(shares([gateway('a', 0), gateway('b', 0), gateway('c', 0)], 100)).toEqual({ a: 34, b: 33, c: 33 })
  })

  it('fill whoever has little room, and share the rest', () => {
    const small = gateway('a', 0, { capacity: 10 })
    expect(shares([small, gateway('b', 0), gateway('c', 0)], 100)).toEqual({ a: 10, b: 45, c: 45 })
    expect(shares([small, gateway('b', 0, { capacity: 20 })], 100)).toEqual({ a: 10, b: 20 })
  })

  it('leave out who takes none', () => {
    expect(shares([gateway('a', 50, { takes: false }), gateway('b', 50)], 100)).toEqual({ b: 100 })
    expect(shares([gateway('a', 50, { takes: false })], 100)).toEqual({})
  })
})

describe('the surplus', () => {
  it('of those who hold more is what a new one lacks', () => {
    expect(surplus([gateway('a', 50), gateway('b', 50), gateway('c', 0)], 100)).toEqual({ a: 16, b: 17, c: 0 })
  })

  it('is nothing as long as others can take what is free, or are too young', () => {
    expect(surplus([gateway('a', 60), gateway('b', 0)], 110)).toEqual({ a: 5, b: 0 })
    expect(surplus([gateway('a', 60), gateway('b', 0)], 120)).toEqual({ a: 0, b: 0 })
    expect(surplus([gateway('a', 60), gateway('b', 0, { ageMs: 100 })], 60)).toEqual({ a: 0, b: 0 })
  })

  it('of a drained one is as much as others have room for, and no more', () => {
    const drained = gateway('a', 60, { takes: false })
    expect(surplus([drained, gateway('b', 0)], 60)).toEqual({ a: 60, b: 0 })
    expect(surplus([drained, gateway('b', 0, { capacity: 25 })], 60)).toEqual({ a: 25, b: 0 })
    expect(surplus([drained], 60)).toEqual({ a: 0 })
  })
})

const anyGateways = fc
  .array(fc.record({ held: fc.nat(60), spare: fc.nat(60), takes: fc.boolean(), isYoung: fc.boolean() }), {
    minLength: 1,
    maxLength: 8,
  })
  .map((all) =>
    all.map(({ held, spare, takes, isYoung }, index) =>
      gateway(`g${index}`, held, { capacity: held + spare, takes, ageMs: isYoung ? 0 : 600_000 }),
    ),
  )

const sum = (numbers: readonly number[]) => numbers.reduce((total, number) => total + number, 0)

describe('always', () => {
  it('shares add up to what is wanted, or to all the room there is, and differ by one at most among the unfilled', () => {
    fc.assert(
      fc.property(anyGateways, fc.nat(600), (gateways, wanted) => {
        const takers = gateways.filter(({ takes }) => takes)
        const given = sharesOf(gateways, wanted)
        expect(sum([...given.values()])).toBe(
          takers.length === 0 ? 0 : Math.min(wanted, sum(takers.map((g) => g.capacity))),
        )
        for (const { id, capacity } of takers) expect(given.get(id)).toBeLessThanOrEqual(capacity)
        const unfilled = takers
          .filter(({ id, capacity }) => (given.get(id) ?? 0) < capacity)
          .map(({ id }) => given.get(id) ?? 0)
        expect(Math.max(0, ...unfilled) - Math.min(...unfilled, Math.max(0, ...unfilled))).toBeLessThanOrEqual(1)
        // Nobody who is full could have had more than the others got.
        expect(Math.max(0, ...given.values())).toBeLessThanOrEqual(
          Math.max(0, ...unfilled) + (unfilled.length ? 1 : 600),
        )
      }),
    )
  })

  it('converges on the shares without moving more than needed, and nobody both gives and receives', () => {
    fc.assert(
      fc.property(anyGateways, fc.nat(100), fc.infiniteStream(fc.nat()), (start, free, dice) => {
        const wanted = sum(start.map(({ held }) => held)) + free
        const loads = start.map((one) => ({ ...one, ageMs: 600_000 }))
        const story = play(loads, { wanted, free, roll: () => dice.next().value ?? 0 })
        const given = sharesOf(story.end, wanted)
        const lacked = loads.map((load, index) => (story.end[index]?.held ?? 0) - load.held)
        expect(story.gave.filter((id) => story.received.includes(id))).toEqual([])
        for (const one of story.end) if (one.takes) expect(one.held).toBe(given.get(one.id))
        // What moved is what those that gained did not find free.
        const gained = sum(lacked.filter((change) => change > 0))
        expect(story.moves).toBe(gained - (free - story.leftFree))
      }),
    )
  })
})

interface Played {
  readonly end: readonly GatewayLoad[]
  readonly moves: number
  readonly leftFree: number
  readonly gave: readonly Incarnation[]
  readonly received: readonly Incarnation[]
}

/** Lets the gateways act one at a time, in any order, each on the rows as they are, until nobody has anything to do. */
function play(
  start: readonly GatewayLoad[],
  { wanted, free, roll }: { readonly wanted: number; readonly free: number; readonly roll: () => number },
): Played {
  const loads = start.map((load) => ({ ...load }))
  const gave = new Set<Incarnation>()
  const received = new Set<Incarnation>()
  /** Free, and not by a hand-over. */
  let untouched = free
  let offered = 0
  let moves = 0
  for (;;) {
    const able = loads.filter(({ id, takes }) => {
      const canTake = takes && untouched + offered > 0 && roomOf(id, loads, wanted) > 0
      return canTake || surplusOf(id, loads, { wanted, settleMs }) > 0
    })
    const actor = able[roll() % Math.max(1, able.length)]
    if (!actor) break
    if (actor.takes && untouched + offered > 0 && roomOf(actor.id, loads, wanted) > 0) {
      actor.held += 1
      if (offered > 0) {
        offered -= 1
        received.add(actor.id)
      } else untouched -= 1
    } else {
      actor.held -= 1
      offered += 1
      moves += 1
      gave.add(actor.id)
    }
  }
  return { end: loads, moves, leftFree: untouched + offered, gave: [...gave], received: [...received] }
}
