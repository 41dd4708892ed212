/**
 * A message's whole way, read across features: what its row says, the steps that were noted where a try went wrong or a
 * person stepped in, the events that were recorded of it, and what became of these at the tenant's webhook endpoints.
 * Nothing is recorded for the trace's own sake while all goes well.
 */
import { AppError } from '../../kernel/errors.js'
import type { MessageId, TenantId } from '../../kernel/ids.js'
import type { Tx } from '../../platform/database/database.js'
import type { Reader } from '../../platform/database/reader.js'
import { listMemberReceipts, type MemberReceipt } from '../messages/member-receipt-store.js'
import { listSteps, type StepRow } from '../messages/step-store.js'
import {
  findReplicas,
  findTraced,
  listTracedDeliveries,
  listTracedEvents,
  type TracedDelivery,
  type TracedEvent,
  type TracedMessage,
} from './trace-store.js'

export const traceSteps = [
  'received',
  'stored',
  'accepted',
  'held',
  'released',
  'claimed',
  'left',
  'acknowledged',
  'delivered',
  'read',
  'played',
  'not_sent',
  'maybe_sent',
  'failed',
  'gave_up',
  'resend',
  'cancelled',
] as const

export interface TraceStep {
  readonly step: (typeof traceSteps)[number]
  /** When it happened, as the one who knows says: WhatsApp for receipts (whole seconds), else we. */
  readonly at: Date
  /** When we wrote it down, where that is another time. */
  readonly recordedAt?: Date | undefined
  readonly attempt?: number | undefined
  readonly epoch?: bigint | null | undefined
  readonly code?: string | null | undefined
}

export interface Trace {
  readonly message: TracedMessage
  readonly steps: readonly TraceStep[]
  readonly replicas: ReadonlyMap<bigint, string>
  readonly deliveries: readonly TracedDelivery[]
  readonly recipients: readonly MemberReceipt[]
}

/** Throws `not_found`: within the reading, so that the primary is asked when a replica does not know the message yet. */
export function traceMessage(reader: Reader, tenantId: TenantId, messageId: MessageId): Promise<Trace> {
  return reader.tenantTx(tenantId, async (tx: Tx) => {
    const message = await findTraced(tx, tenantId, messageId)
    if (!message) throw new AppError('not_found', { detail: 'No message has this id.' })
    const noted = await listSteps(tx, tenantId, messageId)
    const events = await listTracedEvents(tx, tenantId, messageId)
    const steps = stepsOf(message, noted, events)
    const epochs = steps.flatMap(({ epoch }) => (epoch ? [epoch] : []))
    return {
      message,
      steps,
      replicas: await findReplicas(tx, tenantId, message.instanceId, epochs),
      deliveries: await listTracedDeliveries(
        tx,
        tenantId,
        events.map(({ id }) => id),
      ),
      recipients: await listMemberReceipts(tx, tenantId, messageId),
    }
  })
}

/** Pure. In the order in which we learnt of them. */
export function stepsOf(
  message: TracedMessage,
  noted: readonly StepRow[],
  events: readonly TracedEvent[],
): readonly TraceStep[] {
  const steps: readonly TraceStep[] =
    message.direction === 'inbound' || message.origin === 'phone'
      ? beginningOfReceived(message, events)
      : [...beginningOfSent(message, noted), ...firstClaim(message, noted), ...noted, ...untoldEnds(noted, events)]
  return [...steps, ...receipts(message, events)].toSorted(
    (left, right) => (left.recordedAt ?? left.at).getTime() - (right.recordedAt ?? right.at).getTime(),
  )
}

/** What another device or another person wrote: WhatsApp says when. */
function beginningOfReceived({ createdAt }: TracedMessage, events: readonly TracedEvent[]): TraceStep[] {
  const stored = events.find(({ type }) => type === 'message.received' || type === 'message.sent')
  const received: TraceStep = { step: 'received', at: createdAt, recordedAt: stored?.createdAt }
  return stored ? [received, { step: 'stored', at: stored.createdAt }] : [received]
}

function beginningOfSent(message: TracedMessage, noted: readonly StepRow[]): TraceStep[] {
  const { createdAt: at, holdReason, hasPlace } = message
  const accepted: TraceStep = { step: 'accepted', at }
  const wasHeld = noted.some(({ step }) => step === 'released')
  if (wasHeld || holdReason !== null) return [accepted, { step: 'held', at, code: holdReason }]
  return hasPlace || message.attempts > 0 ? [accepted, { step: 'released', at }] : [accepted]
}

/** The first claim stands in the row until there is a second one. */
function firstClaim({ attempts, firstTryAt, epoch }: TracedMessage, noted: readonly StepRow[]): TraceStep[] {
  const isNoted = noted.some(({ step, attempt }) => step === 'claimed' && attempt === 1)
  return attempts === 1 && firstTryAt && !isNoted ? [{ step: 'claimed', at: firstTryAt, attempt: 1, epoch }] : []
}

/** An end that no try brought: a refusal that came late, an instance that was deleted. */
function untoldEnds(noted: readonly StepRow[], events: readonly TracedEvent[]): TraceStep[] {
  const ends = { 'message.failed': 'failed', 'message.unknown': 'gave_up' } as const
  return events.flatMap(({ type, createdAt, errorCode }) => {
    const step = ends[type as keyof typeof ends]
    const isNoted = noted.some((one) => one.step === step && one.at.getTime() === createdAt.getTime())
    return step && !isNoted ? [{ step, at: createdAt, code: errorCode }] : []
  })
}

function receipts(message: TracedMessage, events: readonly TracedEvent[]): TraceStep[] {
  const recordedAt = (type: TracedEvent['type']) => events.find((event) => event.type === type)?.createdAt
  const { leftAt, sentAt, deliveredAt, readAt, playedAt, attempts: attempt } = message
  const acknowledged = message.origin === 'phone' ? null : sentAt
  return [
    ...(leftAt ? [{ step: 'left', at: leftAt, attempt } as const] : []),
    ...(acknowledged
      ? [{ step: 'acknowledged', at: acknowledged, recordedAt: recordedAt('message.sent') } as const]
      : []),
    ...(deliveredAt
      ? [{ step: 'delivered', at: deliveredAt, recordedAt: recordedAt('message.delivered') } as const]
      : []),
    ...(readAt ? [{ step: 'read', at: readAt, recordedAt: recordedAt('message.read') } as const] : []),
    ...(playedAt ? [{ step: 'played', at: playedAt, recordedAt: recordedAt('message.played') } as const] : []),
  ]
}
