import { expect, it } from 'vitest'
import { createBell } from './bell.js'

const never = (stop: AbortSignal): Promise<void> =>
  new Promise((_, reject) => stop.addEventListener('abort', () => reject(new Error('stopped'))))

it('wakes who sleeps, with or without something else to wait for', async () => {
  for (const or of [undefined, never]) {
    const bell = createBell()
    const asleep = bell.rung(or)
    bell.ring()
    await asleep
  }
})

it('remembers one ring, and not two', async () => {
  const bell = createBell()
  bell.ring()
  bell.ring()
  await bell.rung()
  let wokenBy = ''
  const asleep = bell.rung().then(() => (wokenBy ||= 'an old ring'))
  await Promise.resolve()
  wokenBy = 'a new ring'
  bell.ring()
  expect(await asleep).toBe('a new ring')
})

it('wakes when the other thing is over, however that ends, and may be rung again', async () => {
  const bell = createBell()
  await bell.rung(async () => 'over')
  await bell.rung(() => Promise.reject(new Error('failed')))
  const asleep = bell.rung()
  bell.ring()
  await asleep
})

it('is rung by its signal, also by one that was aborted before', async () => {
  const stop = new AbortController()
  const asleep = createBell(stop.signal).rung()
  stop.abort()
  await asleep
  await createBell(stop.signal).rung()
})
