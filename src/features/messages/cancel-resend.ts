/**
 * Taking a message back, and sending one again that has failed or whose fate is unknown.
 *
 *   cancel: queued ─▶ cancelled    only while it surely is not, and never was, on its way
 *   resend: failed, unknown ─▶ queued    at the end of its lane, under the WhatsApp id that it has: whoever has it drops the copy;
 *                                        where its link was fetched in vain, that is tried again first
 *
 * Promises: what `cancel` says was cancelled is never sent; both decide under the lock of the lane, which a claim takes too,
 * so of a claim and a cancellation at the same instant one comes first and the other sees it. Said twice they do it once.
 */
import { AppError, type ErrorCode } from '../../kernel/errors.js'
import type { IdGenerator, InstanceId, MessageId, TenantId } from '../../kernel/ids.js'
import type { Database, Tx } from '../../platform/database/database.js'
import type { EventType } from '../events/event.js'
import { record } from '../events/record.js'
import {
  awaitFileAgain,
  type ChangeableMessage,
  cancelMessage,
  findPlace,
  lockLanesOf,
  lockMessage,
  type MessagePlace,
  requeueMessage,
  ringInstance,
} from './cancel-resend-store.js'
import { rank } from './message.js'
import { keepFirstClaim, noteStep } from './step-store.js'

export interface ChangedMessage {
  readonly whatsappId: string
}

export interface CancelResend {
  /** Rejects with AppError where the state forbids it; then nothing was changed. */
  cancel(tenantId: TenantId, messageId: MessageId): Promise<ChangedMessage>
  /** The same. */
  resend(tenantId: TenantId, messageId: MessageId): Promise<ChangedMessage>
}

/** What to do: it, nothing since it is done already, or to refuse. */
type Verdict = 'go' | 'done' | ErrorCode

export function createCancelResend({ db, ids }: { readonly db: Database; readonly ids: IdGenerator }): CancelResend {
  return {
    cancel: (tenantId, messageId) =>
      change(tenantId, messageId, async (tx, { message }) => {
        const verdict = mayCancel(message)
        if (verdict !== 'go') return verdict
        await cancelMessage(tx, tenantId, messageId)
        await noteStep(tx, tenantId, { messageId, attempt: message.attempts, step: 'cancelled' })
        await tell(tx, { tenantId, messageId, message }, 'message.cancelled', { status: 'cancelled' })
        return 'done'
      }),
    resend: (tenantId, messageId) =>
      change(tenantId, messageId, async (tx, { message, place }) => {
        const verdict = mayResend(message)
        if (verdict !== 'go') return verdict
        await keepFirstClaim(tx, tenantId, messageId)
        await noteStep(tx, tenantId, { messageId, attempt: message.attempts, step: 'resend' })
        // Without its file it has no place in the lane: it comes there when this has been fetched.
        if (!(await awaitFileAgain(tx, tenantId, messageId)))
          await requeueMessage(tx, tenantId, { messageId, laneId: place.laneId })
        await tell(tx, { tenantId, messageId, message }, 'message.queued', { resend: true })
        return 'done'
      }),
  }

  async function change(
    tenantId: TenantId,
    messageId: MessageId,
    apply: (tx: Tx, of: { message: ChangeableMessage; place: MessagePlace }) => Promise<Exclude<Verdict, 'go'>>,
  ): Promise<ChangedMessage> {
    return db.tenantTx(tenantId, async (tx) => {
      const place = await findPlace(tx, tenantId, messageId)
      if (!place) throw new AppError('not_found', { detail: 'No message has this id.' })
      await lockLanesOf(tx, tenantId, [place.chatId, place.laneId])
      const message = await lockMessage(tx, tenantId, messageId)
      // Two contacts became one between the two looks.
      if (message?.chatId !== place.chatId)
        throw new AppError('conflict', { detail: 'Its chat has just changed: retry.' })
      const verdict = await apply(tx, { message, place })
      if (verdict !== 'done') throw new AppError(verdict)
      return { whatsappId: message.whatsappId }
    })
  }

  async function tell(tx: Tx, { tenantId, messageId, message }: About, type: EventType, data: object): Promise<void> {
    await ringInstance(tx, message.instanceId)
    const instanceId: InstanceId = message.instanceId
    await record(tx, [{ id: ids.next('evt'), tenantId, type, instanceId, subjectId: messageId, data: { ...data } }])
  }
}

interface About {
  readonly tenantId: TenantId
  readonly messageId: MessageId
  readonly message: ChangeableMessage
}

/** Pure. */
function mayCancel({ direction, status, attempts, surelyNotSent }: ChangeableMessage): Verdict {
  if (direction === 'inbound') return 'message_not_sent_by_you'
  if (status === 'cancelled') return 'done'
  if (status === 'failed' || status === 'unknown') return 'message_ended'
  if (status === 'sending') return 'message_on_its_way'
  if (status !== 'queued') return 'message_already_sent'
  // It waits for another try, and one before it may have brought it to WhatsApp.
  return surelyNotSent < attempts ? 'message_on_its_way' : 'go'
}

/** Pure. */
function mayResend({ direction, status, isResend, isPassed, instance }: ChangeableMessage): Verdict {
  if (direction === 'inbound') return 'message_not_sent_by_you'
  if (status === 'cancelled') return 'message_ended'
  if (status === 'queued' && isResend) return 'done'
  if (status === 'queued' || status === 'sending') return 'message_on_its_way'
  if (status !== 'failed' && rank(status) >= rank('sent')) return 'message_already_sent'
  if (instance === 'deleted') return 'message_ended'
  if (instance === 'disabled') return 'instance_disabled'
  return isPassed ? 'go' : 'message_on_its_way'
}
