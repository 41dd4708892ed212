import { expect, it } from 'vitest'
import { systemClock } from '../../kernel/clock.js'
import { createStartGate } from './start-gate.js'

const gateOf = (options: { concurrency: number; patienceMs?: number; jitterMs?: number }) =>
  createStartGate({ clock: systemClock, random: () => 0.5, staggerMs: 0, jitterMs: 0, patienceMs: 20_000, ...options })
const never = (): AbortSignal => new AbortController().signal

it('lets only so many begin at once, and the next when one has begun', async () => {
  const gate = gateOf({ concurrency: 2 })
  const entered: (() => void)[] = []
  const all = Array.from({ length: 5 }, async () => entered.push(await gate.enter(never())))
  await Promise.all(all.slice(0, 2))
  await settle()
  expect(entered).toHaveLength(2)
  for (let begun = 0; begun < 5; begun++) {
    entered[begun]?.()
    await settle()
  }
  await Promise.all(all)
  expect(entered).toHaveLength(5)
})

it('spreads the first ones, and does not hold back who waited for a place', async () => {
  const gate = gateOf({ concurrency: 2, jitterMs: 1e9 })
  const leave = await gate.enter(never())
  const stopping = new AbortController()
  let spread = false
  const second = gate.enter(stopping.signal).then(() => (spread = true))
  const third = gate.enter(never())
  await settle()
  leave()
  await third
  expect(spread).toBe(false)
  stopping.abort()
  await second
})

it('does not wait for ever for one that never begins', async () => {
  const gate = gateOf({ concurrency: 1, patienceMs: 20 })
  await gate.enter(never())
  await gate.enter(never())
})

it('lets go of who has stopped waiting, without losing the place', async () => {
  const gate = gateOf({ concurrency: 1 })
  const leave = await gate.enter(never())
  const stopping = new AbortController()
  const waiting = gate.enter(stopping.signal)
  stopping.abort()
  ;(await waiting)()
  const next = gate.enter(never())
  leave()
  ;(await next)()
})

const settle = (): Promise<void> => systemClock.sleep(5)
