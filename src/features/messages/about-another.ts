/** What may be said about another message, and until when. Pure but for the error it throws. */
import { AppError } from '../../kernel/errors.js'
import type { ChatId, InstanceId, MessageId } from '../../kernel/ids.js'
import type { InboundContent, OutboundContent } from '../../platform/whatsapp/content.js'
import type { MessageStatus } from './message.js'

/** The message that another one is about. */
export interface Referenced {
  readonly id: MessageId
  readonly instanceId: InstanceId
  readonly chatId: ChatId
  readonly whatsappId: string
  readonly direction: 'outbound' | 'inbound'
  readonly inGroup: boolean
  readonly status: MessageStatus
  readonly content: OutboundContent | InboundContent
  readonly hasSecret: boolean
  readonly createdAt: Date
  readonly deletedAt: Date | null
}

/** WhatsApp's phones take no edit after 15 minutes, and no taking-back after about two and a half days. */
const EDIT_WINDOW_MS = 15 * 60_000
const DELETE_WINDOW_MS = 60 * 3_600_000
const EDITABLE: ReadonlySet<string> = new Set(['text', 'image', 'video', 'document'])

/**
 * @throws AppError naming what forbids it: the message is gone, is not ours, was not sent, is too old, or is not of a kind
 * that it can be said about.
 */
export function assertMayBeAbout(content: OutboundContent, target: Referenced, nowMs: number): void {
  if (target.deletedAt) throw refused('That message was deleted.')
  if (target.status === 'failed' || target.status === 'cancelled') throw refused('That message was never sent.')
  const ageMs = nowMs - target.createdAt.getTime()
  switch (content.type) {
    case 'edit':
      if (target.direction === 'inbound') throw refused('Only what this instance sent can be edited.')
      if (!EDITABLE.has(target.content.type)) throw refused('Only texts and captions can be edited.')
      if (ageMs > EDIT_WINDOW_MS) throw new AppError('edit_window_over')
      return
    case 'delete':
      // In a group an admin may; WhatsApp decides who is one.
      if (target.direction === 'inbound' && !target.inGroup) throw refused('Only its author can take a message back.')
      if (ageMs > DELETE_WINDOW_MS) throw new AppError('delete_window_over')
      return
    case 'vote':
      assertMayVote(content.vote.options, target)
      return
    default:
  }
}

function assertMayVote(options: readonly string[], { content, hasSecret }: Referenced): void {
  if (content.type !== 'poll') throw refused('That message is no poll.')
  if (!hasSecret) throw refused('The poll came without the key that votes need.')
  const unknown = options.find((option) => !content.poll.options.includes(option))
  if (unknown !== undefined) throw invalid('/vote/options', 'The poll has no such option.')
  const { maxSelections } = content.poll
  if (maxSelections > 0 && options.length > maxSelections)
    throw invalid('/vote/options', `The poll takes at most ${maxSelections}.`)
}

const refused = (detail: string): AppError => new AppError('message_not_eligible', { detail })
const invalid = (pointer: string, detail: string): AppError =>
  new AppError('invalid_request', { detail, errors: [{ pointer, detail }] })
