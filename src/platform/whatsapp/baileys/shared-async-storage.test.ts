import { AsyncResource, executionAsyncResource } from 'node:async_hooks'
import { setTimeout as delay } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { loadBaileys } from './load.js'
import { createSharedStorage } from './shared-async-storage.js'
import { silentLogger } from './silent-logger.js'

it('keeps what each storage holds apart, through whatever is awaited', async () => {
  const [one, two] = [createSharedStorage<string>(), createSharedStorage<string>()]
  const seen = await one.run('a', async () => {
    await delay(1)
    return two.run('b', async () => {
      await Promise.resolve()
      return [one.getStore(), two.getStore(), one.run('c', () => one.getStore()), one.getStore()]
    })
  })
  expect(seen).toEqual(['a', 'b', 'c', 'a'])
  expect([one.getStore(), two.getStore()]).toEqual([undefined, undefined])
})

it('is left, and entered, as Node says', async () => {
  const [one, two] = [createSharedStorage<string>(), createSharedStorage<string>()]
  await new AsyncResource('here').runInAsyncScope(async () => {
    one.enterWith('a')
    two.enterWith('b')
    await Promise.resolve()
    expect(one.exit((suffix: string) => `${one.getStore()}${two.getStore()}${suffix}`, '!')).toBe('undefinedb!')
    expect(one.getStore()).toBe('a')
    one.disable()
    expect([one.getStore(), two.getStore()]).toEqual([undefined, 'b'])
  })
  expect(two.getStore()).toBeUndefined()
})

it('lets the transactions of any number of sockets cost each promise as much as those of one', async () => {
  const { addTransactionCapability } = await loadBaileys()
  const store = { get: async () => ({}), set: async () => {} }
  const enter = () => {
    const keys = addTransactionCapability(store, silentLogger(), { maxCommitRetries: 1, delayBetweenTriesMs: 1 })
    return keys.transaction(async () => {
      await Promise.resolve()
      expect(keys.isInTransaction()).toBe(true)
      // Before Node 24, each storage that was ever used leaves its mark on each resource.
      return Object.getOwnPropertySymbols(executionAsyncResource()).length
    }, 'session')
  }
  const first = await enter()
  for (let index = 0; index < 20; index++) await enter()
  expect(await enter()).toBe(first)
})
