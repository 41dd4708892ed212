/**
 * Accepts a message: after the answer leaves, the message is delivered to WhatsApp or reported failed. Requests that arrive
 * together are committed together (accept-store.ts); the answer leaves after the commit.
 */
import { randomBytes } from 'node:crypto'
import type { Clock } from '../../kernel/clock.js'
import { AppError } from '../../kernel/errors.js'
import {
  type ChatId,
  type IdGenerator,
  type InstanceId,
  type MessageId,
  publicId,
  type TenantId,
} from '../../kernel/ids.js'
import { createBatcher } from '../../platform/database/batcher.js'
import { type Database, isDatabaseUnavailable } from '../../platform/database/database.js'
import type { OutboundContent } from '../../platform/whatsapp/content.js'
import { parseJid } from '../../platform/whatsapp/jid.js'
import type { AddressBook } from '../contacts/address-book.js'
import { type Identity, parseRecipient } from '../contacts/recipient.js'
import { findInstance } from '../instances/instance-store.js'
import { assertMayBeAbout, type Referenced } from './about-another.js'
import { createAcceptGate } from './accept-gate.js'
import { type AcceptItem, type AcceptOutcome, acceptBatch } from './accept-store.js'
import { createBacklogLimit } from './backlog-limit.js'
import { mediaFor } from './media-for.js'
import type { Origin } from './message.js'
import { findAnswer, forgetExpiredKey } from './message-store.js'
import { findReferenced } from './sent-store.js'

export interface QueueRequest {
  readonly tenantId: TenantId
  readonly instanceId: InstanceId
  /** A person or a group; undefined: the chat of the message that the content is about. */
  readonly to?: string | undefined
  readonly content: OutboundContent
  /** The message that it answers, changes or judges. */
  readonly contextId?: MessageId | undefined
  readonly origin: Origin
  readonly metadata: Readonly<Record<string, unknown>> | null
  readonly idempotency: { readonly route: string; readonly key: string; readonly fingerprint: Buffer } | null
}

/** The body of the 202. */
export interface QueuedAnswer {
  readonly id: string
  readonly whatsappId: string
  readonly status: 'queued'
  readonly links: { readonly self: string }
}

export interface MessageQueue {
  /** Resolves after the commit. Rejects with AppError, and then nothing was stored. */
  queue(request: QueueRequest): Promise<{ readonly answer: QueuedAnswer; readonly replayed: boolean }>
}

export interface MessageQueueOptions {
  readonly db: Database
  readonly ids: IdGenerator
  readonly clock: Clock
  readonly addressBook: AddressBook
  /** Chooses the id on the wire, once and for all. */
  readonly newWhatsappId: () => string
  /** Messages of an instance that may wait to be sent before callers are told to come back. @default without limit */
  readonly maxBacklog?: number | undefined
  /** A second flush starts beside the first when so many wait. */
  readonly secondFlushAbove?: number
  readonly maxBatch?: number
  readonly crashPoint?: (name: 'before-accept' | 'after-accept') => void
}

const POLL_SECRET_BYTES = 32
/** Recipients kept as read, in memory. */
const MAX_RECIPIENTS = 20_000

export function createMessageQueue(options: MessageQueueOptions): MessageQueue {
  const { db, ids, clock, addressBook, newWhatsappId, crashPoint } = options
  const { maxBacklog, secondFlushAbove = 300, maxBatch = 500 } = options
  const gate = createAcceptGate({ clock })
  const backlog = maxBacklog === undefined ? undefined : createBacklogLimit({ db, clock, most: maxBacklog })
  const batcher = createBatcher<AcceptItem, AcceptOutcome>({ flush, maxItems: maxBatch, secondAbove: secondFlushAbove })
  /** Keys whose first request is still under way in this process. */
  const running = new Map<string, Buffer>()
  const knownInstances = new Set<string>()
  /** Reading a number costs more than all else that is done to a request here. */
  const recipients = new Map<string, Identity>()
  return { queue }

  async function queue(request: QueueRequest) {
    const leave = gate.enter()
    try {
      return await queueOnce(request)
    } finally {
      leave()
    }
  }

  async function queueOnce(request: QueueRequest) {
    const key = request.idempotency && `${request.tenantId} ${request.idempotency.route} ${request.idempotency.key}`
    if (!key || !request.idempotency) return { answer: await acceptNew(request), replayed: false }
    const first = running.get(key)
    if (first) throw first.equals(request.idempotency.fingerprint) ? inProgress() : keyReused()
    running.set(key, request.idempotency.fingerprint)
    try {
      // The unique key in the statement itself is the check: the usual case costs no look-up.
      return await acceptOrReplay(request, request.idempotency)
    } finally {
      running.delete(key)
    }
  }

  async function acceptOrReplay(request: QueueRequest, idempotency: NonNullable<QueueRequest['idempotency']>) {
    for (let attempt = 0; attempt < 3; attempt++) {
      const answer = await accept(request).catch((error: unknown) => refuseNew(error, request.tenantId, idempotency))
      if (answer) return { answer, replayed: false }
      const stored = await replay(request.tenantId, idempotency)
      if (stored) return { answer: stored, replayed: true }
    }
    throw inProgress()
  }

  /** What was accepted is answered as it was then, however much waits now: else its sender would take it for refused. */
  async function refuseNew(error: unknown, tenantId: TenantId, idempotency: NonNullable<QueueRequest['idempotency']>) {
    if (error instanceof AppError && error.status === 429 && (await replay(tenantId, idempotency))) return undefined
    throw error
  }

  async function acceptNew(request: QueueRequest): Promise<QueuedAnswer> {
    const answer = await accept(request)
    if (!answer) throw new AppError('internal')
    return answer
  }

  /** Undefined when the idempotency key is taken. */
  async function accept(request: QueueRequest): Promise<QueuedAnswer | undefined> {
    // Before anything is asked: what cannot be a recipient is said at once.
    const chatOf = request.to === undefined ? undefined : recipient(request.to)
    await assertInstance(request.tenantId, request.instanceId)
    await backlog?.admit(request.tenantId, request.instanceId)
    const media = await mediaFor(db, ids, request)
    const about = request.contextId === undefined ? undefined : await referenced(request, request.contextId)
    const chatId = await (chatOf?.(request) ?? about?.chatId)
    if (!chatId) throw new AppError('invalid_request', { errors: [{ pointer: '/to', detail: 'Say to whom.' }] })
    const messageId = ids.next('msg')
    const answer = answerFor(messageId, newWhatsappId())
    crashPoint?.('before-accept')
    const outcome = await batcher.add({
      messageId,
      tenantId: request.tenantId,
      instanceId: request.instanceId,
      chatId,
      whatsappId: answer.whatsappId,
      content: request.content,
      origin: request.origin,
      metadata: request.metadata,
      eventId: ids.next('evt'),
      idempotency: request.idempotency && { ...request.idempotency, response: answer },
      context: about && { messageId: about.id, whatsappId: about.whatsappId },
      media,
      secret: request.content.type === 'poll' ? randomBytes(POLL_SECRET_BYTES) : undefined,
    })
    if (outcome === 'key_taken') return undefined
    assertAccepted(outcome)
    crashPoint?.('after-accept')
    return answer
  }

  /** Finds or makes the chat with a recipient. */
  function recipient(to: string): (request: QueueRequest) => Promise<ChatId> {
    const groupJid = to.includes('@') ? parseJid(to)?.groupJid : undefined
    if (groupJid) return ({ tenantId, instanceId }) => addressBook.groupChat(tenantId, instanceId, groupJid)
    const identity = recipientOf(to)
    return async ({ tenantId, instanceId }) => (await addressBook.chatWith(tenantId, instanceId, identity)).chatId
  }

  async function referenced(request: QueueRequest, messageId: MessageId): Promise<Referenced> {
    const target = await findReferenced(db, request.tenantId, messageId)
    if (!target || target.instanceId !== request.instanceId) throw unknownMessage()
    assertMayBeAbout(request.content, target, clock.now())
    return target
  }

  function recipientOf(to: string): Identity {
    const known = recipients.get(to)
    if (known) return known
    const identity = parseRecipient(to)
    if (recipients.size >= MAX_RECIPIENTS) recipients.clear()
    recipients.set(to, identity)
    return identity
  }

  /** Asked before a chat is made, so that nothing is made for an instance of another tenant. */
  async function assertInstance(tenantId: TenantId, instanceId: InstanceId): Promise<void> {
    const key = `${tenantId} ${instanceId}`
    if (knownInstances.has(key)) return
    if (!(await findInstance(db, tenantId, instanceId))) throw unknownInstance()
    knownInstances.add(key)
  }

  async function replay(
    tenantId: TenantId,
    idempotency: NonNullable<QueueRequest['idempotency']>,
  ): Promise<QueuedAnswer | undefined> {
    const stored = await findAnswer(db, tenantId, idempotency)
    if (!stored) return undefined
    if (stored.expired) {
      await forgetExpiredKey(db, tenantId, idempotency)
      return undefined
    }
    if (!stored.fingerprint.equals(idempotency.fingerprint)) throw keyReused()
    return stored.response as QueuedAnswer
  }

  async function flush(items: readonly AcceptItem[]): Promise<readonly AcceptOutcome[]> {
    try {
      return await acceptBatch(db, items)
    } catch (error) {
      if (items.length === 1 || isDatabaseUnavailable(error)) throw error
      // One bad row must not fail its neighbours: nothing of the batch was written, so each tries alone.
      return flushOneByOne(items)
    }
  }

  async function flushOneByOne(items: readonly AcceptItem[]): Promise<AcceptOutcome[]> {
    const outcomes: AcceptOutcome[] = []
    for (const item of items) {
      const [outcome] = await acceptBatch(db, [item]).catch((error: unknown): AcceptOutcome[] => {
        if (isDatabaseUnavailable(error)) throw error
        return ['rejected']
      })
      outcomes.push(outcome ?? 'rejected')
    }
    return outcomes
  }
}

function answerFor(messageId: MessageId, whatsappId: string): QueuedAnswer {
  const id = publicId('msg', messageId)
  return { id, whatsappId, status: 'queued', links: { self: `/api/messages/${id}` } }
}

function assertAccepted(outcome: Exclude<AcceptOutcome, 'key_taken'>): void {
  switch (outcome) {
    case 'accepted':
      return
    case 'unknown_instance':
      throw unknownInstance()
    case 'instance_disabled':
      throw new AppError('instance_disabled')
    case 'unknown_chat':
    case 'rejected':
      throw new AppError('internal')
  }
}

const unknownInstance = (): AppError =>
  new AppError('not_found', {
    detail: 'No instance has this id.',
    errors: [{ pointer: '/instanceId', detail: 'No instance has this id.' }],
  })
const unknownMessage = (): AppError =>
  new AppError('not_found', { detail: 'This instance has no message with this id.' })
const inProgress = (): AppError => new AppError('idempotency_in_progress', { retryAfterSeconds: 1 })
const keyReused = (): AppError => new AppError('idempotency_key_reused')
