/**
 * One AsyncLocalStorage of Node behind all of those that Baileys makes.
 *
 * Baileys makes one for each socket (addTransactionCapability) and never disables it. Before Node 24 every one that was ever
 * used is walked at every promise of the process, for ever: with 33 numbers that was a fifth of a gateway's CPU, and it grew
 * with every reconnect. Since Node 24 they cost nothing (AsyncContextFrame), and nothing is replaced.
 */
import asyncHooks, { type AsyncLocalStorage } from 'node:async_hooks'
import { syncBuiltinESMExports } from 'node:module'

const NativeStorage = asyncHooks.AsyncLocalStorage
const WITHOUT_COST_FROM = 24

/** What each storage holds in the context that runs now. */
const shared = new NativeStorage<ReadonlyMap<object, unknown>>()

/** A storage with the semantics of Node's, on the one context that all of them share. */
export function createSharedStorage<Store>(): Pick<
  AsyncLocalStorage<Store>,
  'getStore' | 'run' | 'exit' | 'enterWith' | 'disable'
> {
  const key = {}
  const having = (store: Store) => new Map(shared.getStore()).set(key, store)
  const lacking = () => new Map([...(shared.getStore() ?? [])].filter(([other]) => other !== key))
  return {
    getStore: () => shared.getStore()?.get(key) as Store | undefined,
    run: <Result, Args extends unknown[]>(store: Store, callback: (...args: Args) => Result, ...args: Args) =>
      shared.run(having(store), callback, ...args),
    exit: <Result, Args extends unknown[]>(callback: (...args: Args) => Result, ...args: Args) =>
      shared.run(lacking(), callback, ...args),
    enterWith: (store) => shared.enterWith(having(store)),
    disable: () => shared.enterWith(lacking()),
  }
}

/** What modules import as AsyncLocalStorage from now on, in this process; those made before stay what they are. Idempotent. */
export function shareAsyncStorage(): void {
  if (Number.parseInt(process.versions.node, 10) >= WITHOUT_COST_FROM) return
  // Called with `new`, which yields what the function returns.
  const replacement = Object.assign(
    function AsyncLocalStorage() {
      return createSharedStorage()
    },
    { bind: NativeStorage.bind, snapshot: NativeStorage.snapshot },
  )
  Object.assign(asyncHooks, { AsyncLocalStorage: replacement })
  syncBuiltinESMExports()
}
