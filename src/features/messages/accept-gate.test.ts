import { setImmediate as nextTurn } from 'node:timers/promises'
import { beforeEach, expect, it } from 'vitest'
import { createAcceptGate } from './accept-gate.js'

let now = 0
beforeEach(() => nextTurn())
const clock = { mono: () => now }
const overloaded = expect.objectContaining({ code: 'overloaded', retryAfterSeconds: 1 })
const enterMany = (enter: () => () => void, count: number) => Array.from({ length: count }, () => enter())

it('lets in so many and no more, and again when one has left', () => {
  const { enter } = createAcceptGate({ clock, most: 3 })
  const [leave] = enterMany(enter, 3)
  expect(enter).toThrow(overloaded)
  leave?.()
  leave?.()
  enter()
  expect(enter).toThrow(overloaded)
})

it('refuses the rest of a turn of the event loop that has lasted too long, and lets in with the next one', async () => {
  const { enter } = createAcceptGate({ clock, crowd: 10, slowMs: Number.POSITIVE_INFINITY, turnMs: 200 })
  enterMany(enter, 9)
  now += 201
  enter()
  expect(enter).toThrow(overloaded)
  await nextTurn()
  enter()
})

it('refuses while a crowd is slow; a few that are slow are no crowd, and a crowd that is fast is none either', () => {
  const { enter } = createAcceptGate({ clock, crowd: 10, slowMs: 500, turnMs: Number.POSITIVE_INFINITY })
  const few = enterMany(enter, 9)
  now += 10_000
  few.push(enter())
  expect(enter).toThrow(overloaded)
  for (const leave of few) leave()
  const fast = enterMany(enter, 100)
  now += 500
  fast.push(enter())
  now += 1
  expect(enter).toThrow(overloaded)
  // Only the oldest counts: with the slow ones gone, the rest came just now.
  for (const leave of fast.slice(0, 100)) leave()
  enterMany(enter, 50)
})
