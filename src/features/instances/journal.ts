/**
 * The journal of a process: makes the Signal keys of all its numbers, and what they received, durable before the wire.
 *
 * Memory is the truth and this is its journal. An append costs nothing; a flush starts when a gate waits (or after a moment
 * of quiet), one at a time, and carries everything that all numbers appended before it in one fenced statement. So an idle
 * process pays one commit per message and a busy one far fewer.
 *
 * Promises: an entry is durable as a whole (a ratchet step and the message that moved it travel in the same statement);
 * positions become durable in order; a number whose lease is lost is refused and does not disturb the others.
 * What PostgreSQL refuses of one number ends that number alone. When a flush fails in another way or takes longer than the
 * limit, its journals are dead: whatever waited is rejected, and the session
 * must drop the connection and forget its memory. Whether the statement took effect is then unknown and it may even still be
 * running, so the session must also take a new epoch before it loads again: the fence then refuses the straggler.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Clock } from '../../kernel/clock.js'
import { type Database, isValueRefused } from '../../platform/database/database.js'
import type { Fence, Resource } from '../../platform/leases/lease.js'
import { type Journal, JournalError } from '../../platform/whatsapp/whatsapp.js'
import type { DataKeys } from '../tenants/data-keys.js'
import { flushJournal } from './credentials-store.js'
import type { InstanceRef } from './instance.js'
import { type Book, createBook, type Page } from './journal-book.js'
import { within } from './within.js'

/** Where a test may end the process. */
export type JournalCrashPoint = 'before-inbound-store' | 'after-inbound-store' | 'before-ratchet' | 'after-ratchet'

export interface JournalWriterOptions {
  readonly db: Database
  readonly clock: Clock
  readonly dataKeys: DataKeys
  /** Nothing waits longer than this; then the journal is dead. Default: 5,000. */
  readonly limitMs?: number
  /** What nobody waits for is flushed after this. Default: 10. */
  readonly quietMs?: number
  readonly crashPoint?: (point: JournalCrashPoint) => void
}

export interface OpenJournal extends Journal {
  /**
   * Aborted with a JournalError when the journal has died. LEASE_LOST: the fence refused it, nothing was written.
   * NOT_DURABLE: whether the last write took effect is not known.
   */
  readonly failed: AbortSignal
  /** Makes durable what is left and ends the journal. Rejects when that failed. */
  close(): Promise<void>
  /** Ends the journal and writes nothing more. */
  abandon(): void
}

export interface JournalWriter {
  open(fence: Fence, owner: InstanceRef): Promise<OpenJournal>
}

const DEFAULT_LIMIT_MS = 5_000
const DEFAULT_QUIET_MS = 10
/** How often waiting is compared with the limit, as a part of the limit. */
const WATCH_STEPS = 20

export function createJournalWriter(options: JournalWriterOptions): JournalWriter {
  const { db, clock, dataKeys, limitMs = DEFAULT_LIMIT_MS, quietMs = DEFAULT_QUIET_MS, crashPoint = () => {} } = options
  /** The open journals, and what tells their sessions of their death. */
  const books = new Map<Book, AbortController>()
  let flushing = false
  let asked = false
  let quietSoon = false
  let watching = false

  return {
    async open(fence, owner) {
      const book = createBook(fence, owner, await dataKeys.dataKey(owner.tenantId, owner.instanceId))
      const failed = new AbortController()
      books.set(book, failed)
      return openJournal(book, failed.signal)
    },
  }

  function openJournal(book: Book, failed: AbortSignal): OpenJournal {
    return {
      failed,
      append(entry) {
        const position = book.append(entry)
        void flushWhenQuiet()
        return position
      },
      get tail() {
        return book.tail
      },
      get durable() {
        return book.durable
      },
      whenDurable: (position) => wait(book, position),
      async close() {
        await wait(book, book.tail)
        end(book)
      },
      abandon: () => end(book),
    }
  }

  function end(book: Book): void {
    books.delete(book)
    book.fail(new JournalError('NOT_DURABLE', { cause: new Error('the journal has ended') }))
  }

  /** The session must hear of it even when nothing of it waits. */
  function kill(book: Book, error: Error): void {
    const failed = books.get(book)
    books.delete(book)
    book.fail(error)
    failed?.abort(error)
  }

  function wait(book: Book, position: number): Promise<void> {
    const durable = book.wait(position, clock.mono())
    if (book.waitingSince !== undefined) {
      asked = true
      void flushAll()
      void watchLimit()
    }
    return durable
  }

  async function flushWhenQuiet(): Promise<void> {
    if (quietSoon) return
    quietSoon = true
    await clock.sleep(quietMs)
    quietSoon = false
    asked = true
    await flushAll()
  }

  async function flushAll(): Promise<void> {
    if (flushing) return
    flushing = true
    while (asked) {
      // After the callbacks of this turn of the loop, so that what happens together travels together.
      await nextTurn()
      asked = false
      await flushOnce()
    }
    flushing = false
  }

  async function flushOnce(): Promise<void> {
    const pages = new Map<Book, Page>()
    for (const book of books.keys()) {
      const page = takePage(book)
      if (page) pages.set(book, page)
    }
    if (pages.size > 0) await flushPages(pages)
  }

  async function flushPages(pages: ReadonlyMap<Book, Page>): Promise<void> {
    try {
      // A flush that hangs is given up, so that it does not hang the journals that are opened after it.
      const own = await within(clock, limitMs, write(pages))
      for (const [book, { upTo }] of pages) {
        if (own.has(book.fence.resource)) book.settle(upTo)
        else kill(book, new JournalError('LEASE_LOST'))
      }
    } catch (cause) {
      // Surely nothing was written, and one page is to blame: the others do not end with it.
      if (pages.size > 1 && isValueRefused(cause)) {
        for (const page of pages) await flushPages(new Map([page]))
        return
      }
      for (const book of pages.keys()) kill(book, new JournalError('NOT_DURABLE', { cause }))
    }
  }

  /** A value that cannot be read costs its own number only. */
  function takePage(book: Book): Page | undefined {
    try {
      return book.take()
    } catch (cause) {
      kill(book, new JournalError('NOT_DURABLE', { cause }))
      return undefined
    }
  }

  async function write(pages: ReadonlyMap<Book, Page>): Promise<Set<Resource>> {
    const credentials = [...pages.values()].flatMap((page) => page.credentials)
    const raws = [...pages.values()].flatMap((page) => page.raws)
    const receipts = [...pages.values()].flatMap((page) => page.receipts)
    if (raws.length > 0) crashPoint('before-inbound-store')
    if (credentials.length > 0) crashPoint('before-ratchet')
    const own = await flushJournal(db, {
      fences: [...pages.keys()].map(({ fence }) => fence),
      credentials,
      raws,
      receipts,
    })
    if (raws.length > 0) crashPoint('after-inbound-store')
    if (credentials.length > 0) crashPoint('after-ratchet')
    return own
  }

  /** What waits may wait behind another flush: each one's own limit counts from when it asked. */
  async function watchLimit(): Promise<void> {
    if (watching) return
    watching = true
    while ([...books.keys()].some(({ waitingSince }) => waitingSince !== undefined)) {
      await clock.sleep(limitMs / WATCH_STEPS)
      const longestSince = clock.mono() - limitMs
      for (const book of books.keys()) {
        if ((book.waitingSince ?? Number.POSITIVE_INFINITY) <= longestSince) kill(book, tooLong())
      }
    }
    watching = false
  }
}

const tooLong = (): JournalError =>
  new JournalError('NOT_DURABLE', { cause: new Error('writing the journal took too long') })
