/** A journal in memory for tests: its durability is in the test's hands, and what is durable can be looked at. */
import type { CredentialSnapshot, Journal, JournalEntry, Receipt } from '../whatsapp.js'
import { JournalError } from '../whatsapp.js'

export interface TestJournalOptions {
  /** How long a commit takes; 0 commits at the next turn of the event loop. */
  readonly commitMs?: number
  /** What an earlier journal of the same number had made durable. */
  readonly durable?: DurableState
}

export interface DurableState {
  /** kind → id → value. */
  readonly credentials: Map<string, Map<string, Buffer>>
  /** Hash in hex → payload. */
  readonly inbound: Map<string, Buffer>
  readonly receipts: Receipt[]
}

export interface TestJournal extends Journal {
  readonly state: DurableState
  readonly flushCount: number
  /** No flush from now on, until `release`. */
  hold(): void
  release(): void
  /** All that wait, now and later, are refused. */
  fail(reason: JournalError['reason']): void
  /** Flushes what there is, at once: for flushes at the worst of moments. */
  flushNow(): void
  snapshot(): CredentialSnapshot
  findRaw(encHash: Buffer): Promise<Buffer | undefined>
}

interface Waiter {
  readonly position: number
  readonly resolve: () => void
  readonly reject: (error: Error) => void
}

export function noState(): DurableState {
  return { credentials: new Map(), inbound: new Map(), receipts: [] }
}

export function createTestJournal({ commitMs = 0, durable: state = noState() }: TestJournalOptions = {}): TestJournal {
  let pending: JournalEntry[] = []
  let waiters: Waiter[] = []
  let tail = 0
  let durable = 0
  let flushCount = 0
  let isFlushing = false
  let isHeld = false
  let failure: JournalError | undefined

  function flush(): void {
    if (isFlushing || isHeld || failure || pending.length === 0) return
    isFlushing = true
    const taken = take()
    const commit = (): void => {
      isFlushing = false
      if (failure) return
      apply(taken)
      if (waiters.length > 0) flush()
    }
    if (commitMs > 0) setTimeout(commit, commitMs)
    else setImmediate(commit)
  }

  function take() {
    const entries = pending
    pending = []
    const last = new Map<string, () => void>()
    for (const { kind, id, read } of entries.flatMap(({ changes = [] }) => changes)) {
      last.set(`${kind}\0${id}`, () => write(kind, id, read()))
    }
    return { entries, upTo: tail, writes: [...last.values()] }
  }

  function apply({ entries, upTo, writes }: ReturnType<typeof take>): void {
    for (const writeOne of writes) writeOne()
    for (const { inbound, receipt } of entries) {
      if (inbound) state.inbound.set(inbound.encHash.toString('hex'), inbound.payload)
      if (receipt) state.receipts.push(receipt)
    }
    flushCount += 1
    durable = Math.max(durable, upTo)
    const ready = waiters.filter(({ position }) => position <= durable)
    waiters = waiters.filter(({ position }) => position > durable)
    for (const { resolve } of ready) resolve()
  }

  function write(kind: string, id: string, value: Buffer | null): void {
    const values = state.credentials.get(kind) ?? new Map<string, Buffer>()
    state.credentials.set(kind, values)
    if (value) values.set(id, value)
    else values.delete(id)
  }

  return {
    state,
    append(entry) {
      tail += 1
      pending.push(entry)
      return tail
    },
    get tail() {
      return tail
    },
    get durable() {
      return durable
    },
    get flushCount() {
      return flushCount
    },
    whenDurable(position) {
      if (position <= durable) return Promise.resolve()
      if (failure) return Promise.reject(failure)
      return new Promise((resolve, reject) => {
        waiters.push({ position, resolve, reject })
        flush()
      })
    },
    hold() {
      isHeld = true
    },
    release() {
      isHeld = false
      flush()
    },
    fail(reason) {
      failure = new JournalError(reason)
      for (const { reject } of waiters.splice(0)) reject(failure)
    },
    flushNow() {
      if (!isHeld && !failure && pending.length > 0) apply(take())
    },
    snapshot: () => new Map([...state.credentials].map(([kind, values]) => [kind, new Map(values)])),
    findRaw: async (encHash) => state.inbound.get(encHash.toString('hex')),
  }
}
