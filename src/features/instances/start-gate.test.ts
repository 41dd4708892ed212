import { expect, it } from 'vitest'
import { systemClock } from '../../kernel/clock.js'
import { createStartGate } from './start-gate.js'

const gateOf = (options: { concurrency: number; patienceMs?: number }) =>
  createStartGate({ clock: systemClock, random: () => 0, staggerMs: 0, jitterMs: 0, patienceMs: 20_000, ...options })
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
