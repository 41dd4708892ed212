/** The JSON of a message, the same in the API, in webhooks and in the live stream. */
import { z } from 'zod'
import type { EventId, MessageId, TenantId } from '../../kernel/ids.js'
import { publicId } from '../../kernel/ids.js'
import type { Database } from '../../platform/database/database.js'
import type { RecordedEvent } from '../events/event.js'
import { chatIdentity, groupSender, viewChatIdentity, viewGroupSender } from './chat-identity.js'
import { messageExamples } from './content-examples.js'
import { contentViews, viewContent } from './content-view.js'
import { mediaView } from './media-view.js'
import { type MessageMedia, type MessageRow, type MessageStatus, messageStatuses, rank } from './message.js'
import { findMessages } from './message-store.js'

const time = z.iso.datetime().nullable()

export const messageView = z
  .object({
    id: z.string().meta({ examples: ['msg_01J8Z3V9K7QW5XN2M4T6R8Y0BC'] }),
    whatsappId: z.string().meta({ description: 'The id on the wire, chosen at accept.' }),
    instanceId: z.string(),
    direction: z.enum(['inbound', 'outbound']),
    chat: z.object(chatIdentity),
    sender: groupSender,
    type: z.string().meta({ description: 'The name of the member that holds the content.' }),
    ...contentViews,
    context: z
      .object({
        messageId: z.string().nullable().meta({ description: 'Null: a message that Mirante does not have.' }),
        whatsappId: z.string(),
      })
      .nullable()
      .meta({ description: 'The message that it answers, changes or judges.' }),
    media: mediaView
      .pick({ id: true, state: true, mimeType: true, size: true, sha256: true, filename: true, width: true })
      .extend(mediaView.pick({ height: true, seconds: true, error: true, links: true }).shape)
      .nullable()
      .meta({ description: 'Its file: `pending` until its bytes are here, then to be had at `links.content`.' }),
    editedAt: time,
    deletedAt: time.meta({ description: 'Taken back for everyone. Its content is kept.' }),
    status: z.enum(messageStatuses),
    statusAt: z.object({
      queued: time,
      sent: time,
      delivered: time,
      read: time,
      played: time,
      failed: time,
      received: time,
    }),
    holdReason: z.string().nullable(),
    error: z.object({ code: z.string(), detail: z.string().nullable() }).nullable(),
    origin: z.string(),
    metadata: z.record(z.string(), z.unknown()).nullable(),
    createdAt: z.iso.datetime(),
  })
  .meta({ id: 'Message', examples: messageExamples })
export type MessageView = z.infer<typeof messageView>

export function viewMessage(row: MessageRow): MessageView {
  const inbound = row.direction === 'inbound'
  const created = row.createdAt.toISOString()
  return {
    id: publicId('msg', row.id),
    whatsappId: row.whatsappId,
    instanceId: publicId('ins', row.instanceId),
    direction: row.direction,
    chat: viewChatIdentity(row),
    sender: viewGroupSender(row),
    ...viewContent(row),
    context:
      row.contextWhatsappId === null
        ? null
        : { messageId: row.contextId && publicId('msg', row.contextId), whatsappId: row.contextWhatsappId },
    media: row.media && viewFile(row.media),
    editedAt: iso(row.editedAt),
    deletedAt: iso(row.deletedAt),
    status: row.status,
    statusAt: {
      queued: inbound ? null : created,
      sent: iso(row.sentAt),
      delivered: iso(row.deliveredAt),
      read: iso(row.readAt),
      played: iso(row.playedAt),
      failed: iso(row.failedAt),
      received: inbound ? created : null,
    },
    holdReason: row.holdReason,
    // A code on a message that is still under way says what its last try met; it is an error only at the end.
    error:
      row.errorCode && (row.status === 'failed' || row.status === 'unknown')
        ? { code: row.errorCode, detail: row.errorDetail }
        : null,
    origin: row.origin,
    metadata: row.metadata,
    createdAt: created,
  }
}

function viewFile({ id, errorCode, state, ...file }: MessageMedia): NonNullable<MessageView['media']> {
  const { mimeType, size, sha256, filename, width, height, seconds } = file
  return {
    ...{ id: publicId('med', id), state, mimeType, size, sha256, filename, width, height, seconds },
    error: errorCode === null ? null : { code: errorCode },
    links: { content: `/api/media/${publicId('med', id)}` },
  }
}

/**
 * Describes message events: the message as it was at the event. Its status is the event's own, and times of later statuses
 * are left out, so that a body is the same whenever it is made; an edit or a deletion shows the message as it is now.
 */
export async function describeMessageEvents(
  db: Database,
  tenantId: TenantId,
  events: readonly RecordedEvent[],
): Promise<ReadonlyMap<EventId, MessageView>> {
  const messageIds = [...new Set(events.map(({ subjectId }) => subjectId as MessageId))]
  const rows = new Map((await findMessages(db, tenantId, messageIds)).map((row) => [row.id, row]))
  const views = new Map<EventId, MessageView>()
  for (const event of events) {
    const row = rows.get(event.subjectId as MessageId)
    if (row) views.set(event.id, viewMessage(asOf(row, event)))
  }
  return views
}

function asOf(row: MessageRow, event: RecordedEvent): MessageRow {
  if (event.type === 'message.edited' || event.type === 'message.deleted') return row
  const status = event.type.slice('message.'.length) as MessageStatus
  const happened = (step: MessageStatus): boolean => rank(step) <= rank(status)
  return {
    ...row,
    status,
    deliveredAt: happened('delivered') ? row.deliveredAt : null,
    readAt: happened('read') ? row.readAt : null,
    playedAt: happened('played') ? row.playedAt : null,
    failedAt: status === 'failed' ? row.failedAt : null,
    errorCode: typeof event.data.errorCode === 'string' ? event.data.errorCode : null,
  }
}

const iso = (date: Date | null): string | null => date?.toISOString() ?? null
