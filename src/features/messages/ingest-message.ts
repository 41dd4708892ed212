/**
 * Stores what a session received: messages, receipts, identities. Events of one lease are taken in order and in natural
 * batches; messages of a batch before its receipts. Nothing here keeps WhatsApp waiting: what arrived is already durable in
 * `inbound_raw`. While the database is away the inbox waits for it, in order; if storing fails for another reason the
 * connection is ended and the sweep (sweep-raw.ts) ingests from the raw rows.
 */
import type { Clock } from '../../kernel/clock.js'
import type { ContactId, IdGenerator, InstanceId, TenantId } from '../../kernel/ids.js'
import { errorText, type Logger } from '../../kernel/logger.js'
import { storable } from '../../kernel/storable-text.js'
import { type Batcher, createBatcher } from '../../platform/database/batcher.js'
import { type Database, isDatabaseUnavailable, sqlState } from '../../platform/database/database.js'
import type { Fence, Lease } from '../../platform/leases/lease.js'
import type { ConnectionEvent, InboundMessage, MessageReference } from '../../platform/whatsapp/whatsapp.js'
import type { AddressBook } from '../contacts/address-book.js'
import { record } from '../events/record.js'
import type { SessionAttachment, SessionContext } from '../instances/session-attachment.js'
import { type DataKeys, sealFor } from '../tenants/data-keys.js'
import { openVoteIn } from './ballot.js'
import { type InboundItem, settleRaw, storeInbound } from './ingest-store.js'
import { mediaSourcePlace } from './media.js'
import { learnRecipients } from './member-receipts.js'
import { applyEarlyReceipts, storeReceipts } from './receive-receipts.js'
import { reportGap } from './report-gap.js'

export interface IngestOptions {
  readonly db: Database
  readonly ids: IdGenerator
  readonly addressBook: AddressBook
  readonly dataKeys: Pick<DataKeys, 'dataKey'>
  readonly clock: Clock
  readonly logger: Logger
  /** Messages with files were stored, which are still to be downloaded. */
  readonly onMedia?: (instanceId: InstanceId) => void
  /** Events of one session that may wait before its socket has to. */
  readonly maxWaiting?: number
  readonly crashPoint?: (name: 'before-ingest-commit' | 'after-ingest-commit') => void
}

/** Whose message it is. `fence` null: the sweep, which acts for no connection. */
export interface InboxOwner {
  readonly tenantId: TenantId
  readonly instanceId: InstanceId
  readonly fence: Fence | null
}

export interface Ingest extends SessionAttachment {
  /** Stores messages and settles their raw rows. False when the lease is lost: then nothing was written. */
  ingest(owner: InboxOwner, messages: readonly InboundMessage[]): Promise<boolean>
}

const MAX_BATCH = 200
const RETRY_MS = 250

interface SessionEvent {
  readonly session: SessionContext
  readonly event: InboxEvent
}

/** Deadlock, serialisation failure, a lock or statement that took too long: the same again may succeed. */
const isTransient = (error: unknown): boolean => ['40P01', '40001', '55P03', '57014'].includes(sqlState(error) ?? '')

export function createIngest(options: IngestOptions): Ingest {
  const { db, ids, addressBook, dataKeys, clock, logger, crashPoint, onMedia, maxWaiting = 1_000 } = options
  const inboxes = new Map<Lease, Batcher<SessionEvent, void>>()

  return {
    ingest,
    async received(session, event) {
      if (!isForUs(event)) return
      const inbox = inboxOf(session.lease)
      const stored = inbox.add({ session, event }).catch((error: unknown) => endSession(session, error))
      if (inbox.waiting > maxWaiting) await stored
    },
  }

  /** One for all connections of a lease: what an old one received is stored before what a new one receives. */
  function inboxOf(lease: Lease): Batcher<SessionEvent, void> {
    const existing = inboxes.get(lease)
    if (existing) return existing
    const inbox = createBatcher<SessionEvent, void>({
      maxItems: MAX_BATCH,
      flush: async (events) => {
        await storeWhenPossible(lease, events)
        return events.map(() => undefined)
      },
    })
    inboxes.set(lease, inbox)
    lease.signal.addEventListener('abort', () => inboxes.delete(lease), { once: true })
    return inbox
  }

  async function storeWhenPossible(lease: Lease, events: readonly SessionEvent[]): Promise<void> {
    while (!lease.signal.aborted) {
      try {
        return await storeEvents(events)
      } catch (error) {
        if (!isDatabaseUnavailable(error) && !isTransient(error)) throw error
        logger.warn('SESSION', 'waiting to store what came in', { reason: errorText(error) })
        await clock.sleep(RETRY_MS, lease.signal).catch(() => undefined)
      }
    }
  }

  function endSession(session: SessionContext, error: unknown): void {
    if (session.signal.aborted) return
    logger.error('SESSION', 'cannot store what came in', { instance: session.instanceId, error: errorText(error) })
    session.connection.terminate('CONNECTION_LOST')
  }

  async function storeEvents(batch: readonly SessionEvent[]): Promise<void> {
    const [first] = batch
    if (!first) return
    const { tenantId, instanceId, lease } = first.session
    const owner: InboxOwner = { tenantId, instanceId, fence: lease }
    const events = batch.map(({ event }) => event)
    for (const event of events) {
      if (event.type === 'identity') await addressBook.learn(owner.tenantId, { ...event, onlyOfKnown: true })
      if (event.type === 'contact')
        await addressBook.noteSaved(owner.tenantId, event.address, event.savedName && storable(event.savedName))
      if (event.type === 'raw-settled') await settleRaw(db, owner, event)
      if (event.type === 'unknown-stanza') await recordUnknown(owner, event)
    }
    const messages = events.flatMap((event) => (event.type === 'message' ? [event.message] : []))
    for (const run of inRuns(messages)) await ingest(owner, run)
    const receipts = events.flatMap((event) => (event.type === 'receipt' ? [event.receipt] : []))
    await storeReceipts({ db, ids }, owner, receipts)
    for (const { session, event } of batch) if (event.type === 'message') askRecipients(session, event.message)
    for (const event of events) if (event.type === 'caught-up') await reportGap({ db, ids }, owner, event)
  }

  async function ingest(owner: InboxOwner, messages: readonly InboundMessage[]): Promise<boolean> {
    if (messages.length === 0) return true
    try {
      const items: InboundItem[] = []
      for (const message of messages) items.push(await place(owner, message))
      crashPoint?.('before-ingest-commit')
      const isOurs = await store(owner, onceEach(items))
      if (items.some(({ media }) => media)) onMedia?.(owner.instanceId)
      crashPoint?.('after-ingest-commit')
      return isOurs
    } catch (error) {
      if (isDatabaseUnavailable(error) || isTransient(error)) throw error
      if (messages.length > 1) return ingestOneByOne(owner, messages)
      // It stays in its raw row, where a person can find it; nothing else must suffer for it.
      logger.error('SESSION', 'a message cannot be stored', { instance: owner.instanceId, error: errorText(error) })
      return true
    }
  }

  async function ingestOneByOne(owner: InboxOwner, messages: readonly InboundMessage[]): Promise<boolean> {
    for (const message of messages) if (!(await ingest(owner, [message]))) return false
    return true
  }

  /** What our own number wrote elsewhere may have receipts that came first: they are applied in the same transaction. */
  async function store(owner: InboxOwner, items: readonly InboundItem[]): Promise<boolean> {
    if (items.every(({ senderId }) => senderId !== null)) return (await storeInbound(db, owner, items)) !== undefined
    return db.tx(async (tx) => {
      const ownIds = await storeInbound(tx, owner, items)
      if (ownIds && ownIds.length > 0) await applyEarlyReceipts(tx, ids, owner, ownIds)
      return ownIds !== undefined
    })
  }

  /** Finds or makes chat and sender. */
  async function place(owner: InboxOwner, message: InboundMessage): Promise<InboundItem> {
    const { tenantId, instanceId } = owner
    const sender = message.sender ? await addressBook.chatAt(tenantId, instanceId, message.sender) : undefined
    if (sender && message.pushName) await addressBook.rename(tenantId, sender.contactId, storable(message.pushName))
    const chatId = await chatOf(owner, message)
    return {
      messageId: ids.next('msg'),
      eventId: ids.next('evt'),
      chatId,
      senderId: sender?.contactId ?? (null as ContactId | null),
      whatsappId: message.whatsappId,
      content: message.sealedVote ? await openVoteIn(db, owner, chatId, message) : message.content,
      at: message.at,
      encHashes: message.encHashes,
      reference: message.reference && (await placeReference(owner, message.reference)),
      secret: message.secret,
      media: message.mediaSource && (await placeMedia(owner, message.mediaSource)),
    }
  }

  async function placeMedia({ tenantId, instanceId }: InboxOwner, source: Buffer) {
    const id = ids.next('med')
    const place = mediaSourcePlace({ tenantId, instanceId, mediaId: id })
    return { id, sourceSealed: sealFor(await dataKeys.dataKey(tenantId, instanceId), place, source) }
  }

  async function placeReference({ tenantId, instanceId }: InboxOwner, { whatsappId, author }: MessageReference) {
    if (!author) return { whatsappId, authorId: null }
    const { contactId } = await addressBook.chatAt(tenantId, instanceId, author)
    return { whatsappId, authorId: contactId }
  }

  async function chatOf({ tenantId, instanceId }: InboxOwner, { chat }: InboundMessage) {
    if (chat.groupJid) return addressBook.groupChat(tenantId, instanceId, chat.groupJid)
    return (await addressBook.chatAt(tenantId, instanceId, chat)).chatId
  }

  /** Of what was written to a group on the phone. WhatsApp is asked, so nothing waits for it; lost with the process. */
  function askRecipients(session: SessionContext, { sender, chat: { groupJid }, whatsappId }: InboundMessage): void {
    if (sender || !groupJid) return
    const { tenantId, instanceId } = session
    learnRecipients(db, { ids, session }, { tenantId, instanceId, whatsappId, groupJid }).catch((error: unknown) => {
      logger.warn('SESSION', 'cannot learn whom a message went to', { instance: instanceId, reason: errorText(error) })
    })
  }

  async function recordUnknown(
    { tenantId, instanceId }: InboxOwner,
    { tag, detail }: { readonly tag: string; readonly detail: string },
  ): Promise<void> {
    const data = { tag, detail, at: new Date(clock.now()).toISOString() }
    await db.tx((tx) =>
      record(tx, [{ id: ids.next('evt'), tenantId, type: 'stanza.unknown', instanceId, subjectId: null, data }]),
    )
  }
}

/** A message that came several times at once (repeated by its sender, healed) is stored once, readable if it ever was. */
function onceEach(items: readonly InboundItem[]): InboundItem[] {
  const byMessage = new Map<string, InboundItem>()
  for (const item of items) {
    const key = `${item.chatId} ${item.senderId} ${item.whatsappId}`
    const before = byMessage.get(key)
    const better =
      before && (before.content.type !== 'undecryptable' || item.content.type === 'undecryptable') ? before : item
    byMessage.set(key, { ...better, encHashes: [...(before?.encHashes ?? []), ...item.encHashes] })
  }
  return [...byMessage.values()]
}

type InboxEvent = Extract<
  ConnectionEvent,
  { type: 'message' | 'receipt' | 'identity' | 'contact' | 'raw-settled' | 'unknown-stanza' | 'caught-up' }
>

function isForUs(event: ConnectionEvent): event is InboxEvent {
  switch (event.type) {
    case 'message':
    case 'receipt':
    case 'identity':
    case 'contact':
    case 'raw-settled':
    case 'unknown-stanza':
    case 'caught-up':
      return true
    default:
      return false
  }
}

/** Parts in which no message is about another one of the same part: a statement does not see what it inserts itself. */
function* inRuns(messages: readonly InboundMessage[]): Iterable<readonly InboundMessage[]> {
  let run: InboundMessage[] = []
  let seen = new Set<string>()
  for (const message of messages) {
    if (message.reference && seen.has(message.reference.whatsappId)) {
      yield run
      run = []
      seen = new Set()
    }
    run.push(message)
    seen.add(message.whatsappId)
  }
  if (run.length > 0) yield run
}
