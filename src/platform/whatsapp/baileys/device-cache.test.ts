import { expect, it } from 'vitest'
import { createDeviceCache } from './device-cache.js'

function rig() {
  const time = { ms: 0 }
  const clock = { now: () => time.ms, mono: () => time.ms, sleep: async () => {} }
  return { time, cache: createDeviceCache(clock) }
}

it('keeps devices for an hour', async () => {
  const { time, cache } = rig()
  await cache.set('5511', ['0', '1'])
  time.ms = 59 * 60_000
  expect(cache.get('5511')).toEqual(['0', '1'])
  expect(cache.has('5511')).toBe(true)
  time.ms = 61 * 60_000
  expect(cache.get('5511')).toBeUndefined()
  expect(cache.has('5511')).toBe(false)
})

it('answers for many at once, and forgets who is deleted', async () => {
  const { cache } = rig()
  await cache.mset?.([
    { key: '1', value: ['0'] },
    { key: '2', value: ['0'] },
  ])
  await cache.del('1')
  expect(await cache.mget?.(['1', '2', '3'])).toEqual({ '1': undefined, '2': ['0'], '3': undefined })
  await cache.flushAll()
  expect(cache.has('2')).toBe(false)
})

it('does not hold on to what has expired', async () => {
  const { time, cache } = rig()
  await cache.set('1', ['0'])
  time.ms = 2 * 60 * 60_000
  await cache.set('2', ['0'])
  time.ms = 0
  expect(cache.has('1')).toBe(false)
})
