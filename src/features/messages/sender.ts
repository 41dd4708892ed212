/**
 * Drains the lanes of one connected instance. Promises: per chat one message at a time and in order; a message leaves only
 * under the WhatsApp id that was chosen when it was accepted; it is `sent` only after the server's acknowledgement; what may
 * have left is only ever sent again under the same id.
 *
 * Settling is batched over all instances of the process and retried while the lease is ours: if it cannot be written, the
 * next holder sends the same id again, and the recipient drops the copy.
 */
import { setMaxListeners } from 'node:events'
import { createBell } from '../../kernel/bell.js'
import type { Clock } from '../../kernel/clock.js'
import type { IdGenerator, InstanceId } from '../../kernel/ids.js'
import { errorText, type Logger } from '../../kernel/logger.js'
import { createBatcher } from '../../platform/database/batcher.js'
import { type Database, isDatabaseUnavailable } from '../../platform/database/database.js'
import type { Resource } from '../../platform/leases/lease.js'
import { STATUS_JID, waIdFromPhone } from '../../platform/whatsapp/jid.js'
import { SendError } from '../../platform/whatsapp/whatsapp.js'
import type { AddressBook } from '../contacts/address-book.js'
import type { SessionAttachment, SessionContext } from '../instances/session-attachment.js'
import { findStatusAudience } from './chat-store.js'
import { type ClaimedHead, claimHeads, type Outcome, recoverLanes, type Settlement, settleHeads } from './lane-store.js'
import type { LinkPreviews } from './link-preview.js'
import { noteRecipients } from './member-receipts.js'
import { type GivingUp, givingUp, nextTry } from './message.js'
import { type OutboundMedia, WITHOUT_STORAGE } from './outbound-media.js'
import { referenceOf } from './reference-store.js'
import { createRestrictions, RESTRICTED } from './restriction.js'

export interface SenderOptions {
  readonly db: Database
  readonly addressBook: AddressBook
  readonly media: Pick<OutboundMedia, 'prepare'>
  readonly previews: LinkPreviews
  readonly clock: Clock
  readonly ids: IdGenerator
  readonly logger: Logger
  /** Chats of one instance with a message in flight at once. */
  readonly maxInFlight?: number
  readonly ackTimeoutMs?: number
  readonly policy?: GivingUp
  /** How long WhatsApp's word that a number exists (or not) is believed, in ms. */
  readonly numberCheckTtlMs?: { readonly exists: number; readonly missing: number }
  /** A message whose file cannot be read is held so long, in ms. @default 10,000 */
  readonly storageHoldMs?: number
  /** A look at the lanes even when nothing was heard: a lost wake-up costs at most this, in ms. */
  readonly pollEveryMs?: number
  readonly crashPoint?: (name: 'after-claim' | 'after-ack' | 'after-settle') => void
}

export interface Sender extends SessionAttachment {
  /** Messages were accepted for this instance. */
  wake(instanceId: InstanceId): void
  wakeAll(): void
}

const DAY_MS = 86_400_000
const SETTLE_RETRY_MS = 500
/** What is due later is found by the poll. */
const MAX_TIMER_MS = 60_000

export function createSender(options: SenderOptions): Sender {
  const { db, addressBook, media, previews, clock, ids, logger, crashPoint } = options
  const { maxInFlight = 32, ackTimeoutMs = 15_000, policy = givingUp, pollEveryMs = 5_000 } = options
  const { storageHoldMs = 10_000 } = options
  const { numberCheckTtlMs = { exists: 30 * DAY_MS, missing: DAY_MS } } = options
  const restrictions = createRestrictions({ db, clock, ids, logger })
  const loops = new Map<InstanceId, Loop>()
  const settling = createBatcher<Settlement, Set<Resource>>({ flush: flushSettlements, maxItems: 500 })

  return {
    async acquired(lease, tenantId, instanceId) {
      // Each message in flight listens to these.
      setMaxListeners(0, lease.signal)
      await recoverLanes(db, lease, instanceId)
      await restrictions.recall(tenantId, instanceId)
    },
    async received({ instanceId }, event) {
      if (event.type !== 'trusted') return
      restrictions.trusted(instanceId, event.by)
      loops.get(instanceId)?.wake()
    },
    opened(session) {
      setMaxListeners(0, session.signal)
      drain(session).catch((error: unknown) => {
        logger.error('SESSION', 'the sender stopped', { instance: session.instanceId, error: errorText(error) })
        session.connection.terminate('CONNECTION_LOST')
      })
    },
    async closing({ instanceId }) {
      await loops.get(instanceId)?.finish()
    },
    wake(instanceId) {
      loops.get(instanceId)?.wake()
    },
    wakeAll() {
      for (const loop of loops.values()) loop.wake()
    },
  }

  async function drain(session: SessionContext): Promise<void> {
    const bell = createBell(session.signal)
    const inFlight = new Set<Promise<void>>()
    let finishing = false
    const loop: Loop = {
      wake: bell.ring,
      async finish() {
        finishing = true
        // A claim that was under way may still add to them.
        await claiming
        await Promise.all(inFlight)
      },
    }
    let claiming: Promise<unknown> = Promise.resolve()
    loops.set(session.instanceId, loop)
    const timer = setInterval(bell.ring, pollEveryMs)
    try {
      while (!session.signal.aborted && !finishing) {
        claiming = claimAndSend(session, inFlight, bell.ring)
        await claiming
        await bell.rung()
      }
    } finally {
      clearInterval(timer)
      if (loops.get(session.instanceId) === loop) loops.delete(session.instanceId)
    }
  }

  async function claimAndSend(session: SessionContext, inFlight: Set<Promise<void>>, wake: () => void): Promise<void> {
    const free = maxInFlight - inFlight.size
    if (free === 0 || !session.lease.isTrusted()) return
    for (const head of await claim(session, free)) {
      const sending = sendOne(session, head).finally(() => {
        inFlight.delete(sending)
        wake()
      })
      inFlight.add(sending)
    }
  }

  async function claim(session: SessionContext, limit: number): Promise<ClaimedHead[]> {
    try {
      await restrictions.releaseWarmed(session)
      const heads = await claimHeads(db, session.lease, session.instanceId, limit)
      if (heads.length > 0) crashPoint?.('after-claim')
      return heads
    } catch (error) {
      // The database is away: the bell rings again soon, and the session itself ends when its journal cannot be written.
      logger.warn('SESSION', 'cannot claim messages', { instance: session.instanceId, reason: errorText(error) })
      return []
    }
  }

  async function sendOne(session: SessionContext, head: ClaimedHead): Promise<void> {
    const outcome = await attempt(session, head)
    await settle(session, head, outcome)
    if ('dueInMs' in outcome && outcome.dueInMs < MAX_TIMER_MS)
      setTimeout(() => loops.get(session.instanceId)?.wake(), outcome.dueInMs + 5).unref()
  }

  async function attempt(session: SessionContext, head: ClaimedHead): Promise<Outcome> {
    if (head.status !== 'sending') return { to: 'passed' }
    try {
      const held = await restrictions.holdBefore(session, head)
      if (held) return held
      const to = await addressOf(session, head)
      if (!to) {
        if (head.phone === null) return { to: 'failed', code: 'no_address', detail: 'This contact has no address.' }
        return { to: 'failed', code: 'not_on_whatsapp', detail: 'WhatsApp does not know this number.' }
      }
      if (head.groupJid !== null) await noteRecipients(db, session, groupSendOf(session, head, head.groupJid))
      const message = {
        whatsappId: head.whatsappId,
        to,
        content: head.content,
        reference: referenceOf(head),
        secret: head.secret ?? head.refSecret ?? undefined,
        audience: head.groupJid === STATUS_JID ? await findStatusAudience(db, session) : undefined,
        preview: await previews.find(head.content, session.signal),
        media: await media.prepare(session, head),
      }
      const ack = await session.connection.send(message, { signal: session.signal, ackTimeoutMs })
      crashPoint?.('after-ack')
      return { to: 'sent', at: ack.at, leftAt: ack.leftAt }
    } catch (error) {
      const held = await holdIfRestricted(session, head, error)
      return held ?? holdWithoutStorage(error) ?? afterFailure(session, head, error)
    }
  }

  async function holdIfRestricted(
    session: SessionContext,
    head: ClaimedHead,
    error: unknown,
  ): Promise<Outcome | undefined> {
    if (!(error instanceof SendError) || error.code !== RESTRICTED) return undefined
    return restrictions.holdAfter(session, head)
  }

  function holdWithoutStorage(error: unknown): Outcome | undefined {
    if (!(error instanceof SendError) || error.code !== WITHOUT_STORAGE) return undefined
    return { to: 'queued', dueInMs: storageHoldMs, strike: false, code: WITHOUT_STORAGE, hold: 'storage' }
  }

  /** Where to write to, or undefined when WhatsApp says that nobody is there. Asks once and keeps the answer. */
  async function addressOf(session: SessionContext, head: ClaimedHead) {
    if (head.groupJid !== null) return { groupJid: head.groupJid }
    const lid = head.lid === null ? {} : { lid: head.lid }
    if (head.phone === null) return head.lid === null ? undefined : lid
    const waId = head.waId ?? waIdFromPhone(head.phone)
    const age = head.checkedAt ? clock.now() - head.checkedAt.getTime() : Number.POSITIVE_INFINITY
    if (head.onWhatsApp === true && age < numberCheckTtlMs.exists) return { waId, ...lid }
    if (head.onWhatsApp === false && age < numberCheckTtlMs.missing) return undefined
    const check = await session.connection.checkNumber(waIdFromPhone(head.phone))
    await addressBook.learnCheck(head.tenantId, head.phone, check)
    return check.exists ? { waId: check.waId ?? waId, ...lid, ...(check.lid ? { lid: check.lid } : {}) } : undefined
  }

  function afterFailure(session: SessionContext, head: ClaimedHead, error: unknown): Outcome {
    const failure = error instanceof SendError ? error : new SendError('send_failed', { sent: 'no', cause: error })
    if (failure.final) return { to: 'failed', code: failure.code, detail: detailOf(failure) }
    // A connection that ended under the message says nothing about the message.
    const strike = !session.signal.aborted
    const next = nextTry(
      {
        strikes: head.strikes + (strike ? 1 : 0),
        attempts: head.attempts,
        ageMs: clock.now() - head.firstTryAt.getTime(),
      },
      policy,
    )
    const code = failure.code
    if (next !== 'give-up') {
      return { to: failure.sent === 'no' ? 'queued' : 'sending', dueInMs: next.inMs, strike, code }
    }
    if (failure.sent === 'maybe' || head.attempts > 1) return { to: 'unknown', code }
    return { to: 'failed', code, detail: 'The message could not be sent.' }
  }

  /** Writes what became of a head; again until it is written or the lease is gone. */
  async function settle(session: SessionContext, head: ClaimedHead, outcome: Outcome): Promise<void> {
    const { lease, instanceId } = session
    const settlement: Settlement = { fence: lease, instanceId, head, outcome, eventId: ids.next('evt') }
    while (!lease.signal.aborted) {
      try {
        await settling.add(settlement)
        crashPoint?.('after-settle')
        return
      } catch (error) {
        logger.warn('SESSION', 'cannot store a send', { instance: instanceId, reason: errorText(error) })
        await clock.sleep(SETTLE_RETRY_MS, lease.signal).catch(() => undefined)
      }
    }
  }

  async function flushSettlements(settlements: readonly Settlement[]): Promise<Set<Resource>[]> {
    try {
      const ours = await settleHeads(db, settlements)
      return settlements.map(() => ours)
    } catch (error) {
      if (settlements.length === 1 || isDatabaseUnavailable(error)) throw error
      // One that cannot be written must not hold up those of other chats and numbers.
      return Promise.all(settlements.map((settlement) => settleHeads(db, [settlement])))
    }
  }
}

const detailOf = ({ code }: SendError): string =>
  code === 'media_unavailable' ? 'The file is not there any more.' : 'WhatsApp refused this message.'

const groupSendOf = ({ tenantId, instanceId }: SessionContext, { whatsappId }: ClaimedHead, groupJid: string) => ({
  ...{ tenantId, instanceId, whatsappId, groupJid },
})

/** The draining of one connection. */
interface Loop {
  wake(): void
  /** Begins nothing new; resolves when nothing is in flight. */
  finish(): Promise<void>
}
