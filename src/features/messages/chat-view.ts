/** The JSON of a chat in the list of chats. */
import { z } from 'zod'
import { publicId } from '../../kernel/ids.js'
import { chatIdentity, groupSender, viewChatIdentity, viewGroupSender } from './chat-identity.js'
import { chatExample } from './content-examples.js'
import { type MessageRow, messageStatuses } from './message.js'

/** Characters of the newest message that a list shows. */
const PREVIEW_LENGTH = 200

export const chatView = z
  .object({
    ...chatIdentity,
    instanceId: z.string(),
    lastMessage: z
      .object({
        id: z.string(),
        direction: z.enum(['inbound', 'outbound']),
        sender: groupSender,
        type: z.string(),
        preview: z
          .string()
          .nullable()
          .meta({
            description: `At most ${PREVIEW_LENGTH} characters of its text, caption, file name, question, place, name or emoji.`,
          }),
        status: z.enum(messageStatuses),
        deletedAt: z.iso.datetime().nullable(),
        createdAt: z.iso.datetime(),
      })
      .meta({ description: 'The newest of GET /api/chats/:id/messages.' }),
  })
  .meta({ id: 'Chat', examples: [chatExample] })

/** Of a chat's newest message. */
export function viewChat(row: MessageRow): z.infer<typeof chatView> {
  return {
    ...viewChatIdentity(row),
    instanceId: publicId('ins', row.instanceId),
    lastMessage: {
      id: publicId('msg', row.id),
      direction: row.direction,
      sender: viewGroupSender(row),
      type: row.content.type,
      preview: preview(row.content),
      status: row.status,
      deletedAt: row.deletedAt?.toISOString() ?? null,
      createdAt: row.createdAt.toISOString(),
    },
  }
}

/** Pure. Cut between characters, never inside one. */
function preview(content: MessageRow['content']): string | null {
  const words = wordsOf(content)?.slice(0, PREVIEW_LENGTH)
  return words?.replace(/[\uD800-\uDBFF]$/, '') || null
}

function wordsOf(content: MessageRow['content']): string | undefined {
  switch (content.type) {
    case 'text':
      return content.text.body
    case 'edit':
      return content.edit.text.body
    case 'image':
      return content.image.caption
    case 'video':
      return content.video.caption
    case 'document':
      return content.document.caption ?? content.document.filename
    case 'poll':
      return content.poll.question
    case 'vote':
      return content.vote.options.join(', ')
    case 'reaction':
      return content.reaction.emoji
    case 'location':
      return content.location.name ?? content.location.address
    case 'contacts':
      return content.contacts.map(({ name }) => name.formattedName).join(', ')
    default:
      return undefined
  }
}
