/** The pages of one journal in memory: what was appended and is not durable yet, and who waits for it. Does no I/O. */
import type { Fence } from '../../platform/leases/lease.js'
import { memberKey } from '../../platform/whatsapp/jid.js'
import type { CredentialChange, JournalEntry, Receipt } from '../../platform/whatsapp/whatsapp.js'
import { sealFor } from '../tenants/data-keys.js'
import { credentialPlace, rawPlace } from './credentials.js'
import type { JournaledReceipt, SealedCredential, SealedRaw } from './credentials-store.js'
import type { InstanceRef } from './instance.js'

export interface Book {
  readonly fence: Fence
  readonly tail: number
  readonly durable: number
  /** Why nothing more will become durable; undefined while the journal lives. */
  readonly dead: Error | undefined
  /** Monotonic ms since when the first of those that wait has been waiting. */
  readonly waitingSince: number | undefined
  append(entry: JournalEntry): number
  wait(position: number, nowMs: number): Promise<void>
  /** Everything appended so far and not taken yet, sealed; undefined when there is nothing. */
  take(): Page | undefined
  /** Everything up to here is durable. */
  settle(upTo: number): void
  /** Rejects all who wait, now and later. The first error stays. */
  fail(error: Error): void
}

export interface Page {
  readonly upTo: number
  readonly credentials: readonly SealedCredential[]
  readonly raws: readonly SealedRaw[]
  readonly receipts: readonly JournaledReceipt[]
}

interface Waiter {
  readonly position: number
  readonly sinceMs: number
  readonly resolve: () => void
  readonly reject: (error: Error) => void
}

export function createBook(fence: Fence, owner: InstanceRef, key: Buffer): Book {
  const changes = new Map<string, CredentialChange>()
  let raws: NonNullable<JournalEntry['inbound']>[] = []
  let receipts: Receipt[] = []
  let waiters: Waiter[] = []
  let tail = 0
  let taken = 0
  let durable = 0
  let dead: Error | undefined

  return {
    fence,
    get tail() {
      return tail
    },
    get durable() {
      return durable
    },
    get dead() {
      return dead
    },
    get waitingSince() {
      return waiters[0]?.sinceMs
    },
    append,
    wait,
    take,
    settle,
    fail,
  }

  function append(entry: JournalEntry): number {
    tail += 1
    // A dead journal keeps nothing: what is appended to it can never leave, as `wait` will say.
    if (dead) return tail
    for (const change of entry.changes ?? []) changes.set(`${change.kind}\0${change.id}`, change)
    if (entry.inbound) raws.push(entry.inbound)
    if (entry.receipt) receipts.push(entry.receipt)
    return tail
  }

  function wait(position: number, nowMs: number): Promise<void> {
    if (position <= durable) return Promise.resolve()
    if (dead) return Promise.reject(dead)
    return new Promise((resolve, reject) => {
      waiters.push({ position: Math.min(position, tail), sinceMs: nowMs, resolve, reject })
    })
  }

  function take(): Page | undefined {
    if (dead || taken === tail) return undefined
    const page = {
      upTo: tail,
      credentials: [...changes.values()].map((change) => sealChange(change)),
      raws: raws.map(({ encHash, payload }) => ({
        resource: fence.resource,
        ...owner,
        encHash,
        sealed: sealFor(key, rawPlace(owner, encHash), payload),
      })),
      receipts: receipts.flatMap(({ whatsappIds, status, at, errorCode = null, member: who }) => {
        const { member = '', alias = null } = (who && memberKey(who)) ?? {}
        const one = { resource: fence.resource, ...owner, status, at, errorCode, member, alias }
        return whatsappIds.map((whatsappId) => ({ ...one, whatsappId }))
      }),
    }
    changes.clear()
    raws = []
    receipts = []
    taken = tail
    return page
  }

  function sealChange({ kind, id, read }: CredentialChange): SealedCredential {
    const value = read()
    const sealed = value && sealFor(key, credentialPlace(owner, kind, id), value)
    return { resource: fence.resource, ...owner, kind, id, sealed }
  }

  function settle(upTo: number): void {
    if (dead) return
    durable = upTo
    const ready = waiters.filter(({ position }) => position <= upTo)
    waiters = waiters.filter(({ position }) => position > upTo)
    for (const { resolve } of ready.sort((left, right) => left.position - right.position)) resolve()
  }

  function fail(error: Error): void {
    if (dead) return
    dead = error
    changes.clear()
    raws = []
    receipts = []
    for (const { reject } of waiters.splice(0)) reject(error)
  }
}
