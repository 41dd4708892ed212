/**
 * A session reduced to what the lease protocol protects: the counter of a Signal ratchet, which must be saved before the frame
 * that used it leaves, and may never be used twice. Follows the rules that real sessions follow, or, as a mutant, breaks one.
 */
import { within } from '../alarm.js'
import { FencedError } from '../fence.js'
import type { Lease } from '../lease.js'
import type { LeaseKeeper } from '../lease-keeper.js'
import type { ModelProcess } from './model-process.js'
import type { ModelStorage, VaultState } from './model-storage.js'

/** One rule broken. The explorer must notice each. */
export const mutants = [
  /** Reads who holds the lease, then writes: seed 000. */
  'check_then_write',
  'no_fence',
  'send_before_persist',
  /** Loads the keys before the epoch has moved. */
  'load_before_take',
  /** After a write of unknown outcome, loads the keys and goes on under the same epoch. */
  'reload_same_epoch',
] as const
export type Mutant = (typeof mutants)[number]

export interface ModelSession {
  readonly lease: Lease
  /** A message to send, if the session can. */
  send(): Promise<void>
  /** WhatsApp closed the socket: another one uses the same credentials (440). */
  replaced(): Promise<void>
  /** WhatsApp ended the pairing (401). Perhaps a stale frame, perhaps to a stale holder. */
  loggedOut(): Promise<void>
  /** The lease is lost: nothing is written, nothing deleted, the memory is forgotten. */
  close(): void
}

export interface ModelSessionOptions {
  readonly process: ModelProcess
  readonly keeper: LeaseKeeper
  readonly lease: Lease
  readonly storage: ModelStorage
  readonly mutant: Mutant | undefined
  readonly connect: (session: ModelSession) => void
  readonly emit: (step: VaultState) => void
}

/** Longer than this, and the gate drops the frames it holds. */
const GATE_MS = 5_000
const RETRY_MS = 1_000
const MAX_REPLACED = 3

export function createModelSession(options: ModelSessionOptions): ModelSession {
  const { process, keeper, lease, storage, mutant, connect, emit } = options
  const { resource } = lease
  let open = true
  let busy = false
  let state: VaultState | undefined
  let replacedCount = 0
  const session: ModelSession = {
    lease,
    async send() {
      if (!open || busy || !state || !lease.isTrusted()) return
      busy = true
      const step = state
      state = { ...step, counter: step.counter + 1 }
      await (mutant === 'send_before_persist' ? sendFirst(step) : persistFirst(step)).catch(giveUp)
      busy = false
    },
    async replaced() {
      if (!open || ++replacedCount > MAX_REPLACED) return
      try {
        await process.call(() => storage.fenced(lease, () => undefined))
        if (open) connect(session)
      } catch (error) {
        if (error instanceof FencedError) giveUp(error)
      }
    },
    async loggedOut() {
      if (!open || busy || !state) return
      busy = true
      try {
        await process.call(() => write(() => storage.deleteCredentials(lease)))
        state = undefined
        void load()
      } catch (error) {
        giveUp(error)
      }
      busy = false
    },
    close,
  }
  if (mutant === 'load_before_take') begin(storage.peeked(process.holder, resource))
  else void load()
  return session

  async function load(): Promise<void> {
    while (open) {
      try {
        return begin(await process.call(() => storage.fenced(lease, () => storage.read(resource))))
      } catch (error) {
        if (error instanceof FencedError) return giveUp(error)
        await process.clock.sleep(RETRY_MS)
      }
    }
  }

  function begin(loaded: VaultState): void {
    if (!open) return
    state = loaded
    connect(session)
  }

  async function persistFirst(step: VaultState): Promise<void> {
    await within(process.setAlarm, GATE_MS, persist(step.counter + 1))
    if (open && lease.isTrusted()) await leave(step)
  }

  async function sendFirst(step: VaultState): Promise<void> {
    await leave(step)
    await within(process.setAlarm, GATE_MS, persist(step.counter + 1))
  }

  /** Between the last look at the lease and the bytes in the socket, the process may be stopped for any time. */
  async function leave(step: VaultState): Promise<void> {
    await new Promise<void>((resolve) => process.after(0, resolve))
    emit(step)
  }

  async function persist(counter: number): Promise<void> {
    if (mutant === 'check_then_write' && !(await process.call(() => storage.isCurrent(lease)))) {
      throw new FencedError(resource)
    }
    return process.call(() => write(() => storage.save(lease, counter)))
  }

  function write(statement: () => void): void {
    if (mutant === 'no_fence' || mutant === 'check_then_write') statement()
    else storage.fenced(lease, statement)
  }

  function giveUp(error: unknown): void {
    if (!open) return
    state = undefined
    const fenced = error instanceof FencedError
    if (mutant === 'reload_same_epoch' && !fenced) return void load()
    close()
    keeper.forfeit(lease, fenced ? 'fenced' : 'uncertain_write')
    keeper.poke()
  }

  function close(): void {
    open = false
    state = undefined
  }
}
