/**
 * A message and the rules of its status. Pure.
 *
 *   queued ─claim─▶ sending ─server's ack─▶ sent ─receipts─▶ delivered ─▶ read ─▶ played
 *     ▲               │  ├─ refused, or not on WhatsApp ─▶ failed
 *     └─surely not────┘  └─ no ack after all resends ─▶ unknown   (a late ack or receipt still moves it forward)
 *   received: what came in.   cancelled: taken back while queued.
 */
import type { ChatId, ContactId, InstanceId, MediaId, MessageId, TenantId } from '../../kernel/ids.js'
import type { InboundContent, OutboundContent } from '../../platform/whatsapp/content.js'

export const messageStatuses = [
  'received',
  'queued',
  'sending',
  'unknown',
  'sent',
  'delivered',
  'read',
  'played',
  'failed',
  'cancelled',
] as const
/** In the order in which a message may move; the column's enum has the same order. */
export type MessageStatus = (typeof messageStatuses)[number]

export type Origin = 'human' | 'api' | 'bot' | 'campaign' | 'scheduler' | 'phone' | 'contact'

/** A status that a receipt can bring. */
export type ReceiptStatus = 'sent' | 'delivered' | 'read' | 'played' | 'failed'

/** Who received a message has it from WhatsApp's server: that it was sent may be known from this receipt first. */
export const stepsTo = (status: ReceiptStatus): readonly ReceiptStatus[] =>
  status === 'sent' || status === 'failed' ? [status] : ['sent', status]

/** Whether a receipt moves a message in this status. Nothing goes back, and what has ended stays ended. */
export function movesForward(from: MessageStatus, to: ReceiptStatus): boolean {
  if (from === 'failed' || from === 'cancelled' || from === 'received') return false
  // A refusal that arrives after WhatsApp had confirmed the message says nothing any more.
  if (to === 'failed') return rank(from) < rank('sent')
  return rank(from) < rank(to)
}

export const rank = (status: MessageStatus): number => messageStatuses.indexOf(status)

/** A message as stored. */
export interface MessageRow {
  readonly id: MessageId
  readonly tenantId: TenantId
  readonly instanceId: InstanceId
  readonly chatId: ChatId
  readonly senderId: ContactId | null
  readonly direction: 'outbound' | 'inbound'
  readonly whatsappId: string
  readonly content: OutboundContent | InboundContent
  readonly origin: Origin
  readonly metadata: Record<string, unknown> | null
  readonly status: MessageStatus
  readonly holdReason: string | null
  readonly attempts: number
  readonly errorCode: string | null
  readonly errorDetail: string | null
  readonly createdAt: Date
  readonly sentAt: Date | null
  readonly deliveredAt: Date | null
  readonly readAt: Date | null
  readonly playedAt: Date | null
  readonly failedAt: Date | null
  readonly editedAt: Date | null
  /** Taken back for everyone. */
  readonly deletedAt: Date | null
  /** The message that this one answers, changes or judges, if we have it, and WhatsApp's name for it. */
  readonly contextId: MessageId | null
  readonly contextWhatsappId: string | null
  /** Its file. Null: it has none, or it was deleted. */
  readonly media: MessageMedia | null
  /** The person of the chat; null in a group. */
  readonly contactId: ContactId | null
  readonly phone: string | null
  readonly waId: string | null
  readonly lid: string | null
  readonly username: string | null
  readonly bsuid: string | null
  readonly name: string | null
  readonly groupJid: string | null
  /** Who wrote it, in a group; null: our own number. */
  readonly senderName: string | null
  readonly senderPhone: string | null
  readonly senderLid: string | null
}

/** The file of a message, as its view tells of it. */
export interface MessageMedia {
  readonly id: MediaId
  readonly state: 'pending' | 'stored' | 'failed'
  readonly mimeType: string | null
  readonly size: number | null
  readonly sha256: string | null
  readonly filename: string | null
  readonly width: number | null
  readonly height: number | null
  readonly seconds: number | null
  readonly errorCode: string | null
}

/** When a message that would not go is given up. */
export interface GivingUp {
  /** Bad ends while the connection was up. */
  readonly maxStrikes: number
  /** Claims in all: a message that keeps taking its process down must not do so for ever. */
  readonly maxAttempts: number
  readonly maxAgeMs: number
  /** Delay before the next try in ms: base · 4^strikes, at most max. */
  readonly baseMs: number
  readonly maxMs: number
}
export const givingUp: GivingUp = {
  maxStrikes: 5,
  maxAttempts: 50,
  maxAgeMs: 24 * 3_600_000,
  baseMs: 2_000,
  maxMs: 15 * 60_000,
}

export interface TryHistory {
  /** Including the try that just ended, if it counts. */
  readonly strikes: number
  readonly attempts: number
  readonly ageMs: number
}

/** Whether to try a message again, and in how many ms, or to give it up. Pure. */
export function nextTry({ strikes, attempts, ageMs }: TryHistory, policy: GivingUp): { inMs: number } | 'give-up' {
  if (strikes >= policy.maxStrikes || attempts >= policy.maxAttempts || ageMs >= policy.maxAgeMs) return 'give-up'
  return { inMs: strikes === 0 ? 0 : Math.min(policy.baseMs * 4 ** (strikes - 1), policy.maxMs) }
}
