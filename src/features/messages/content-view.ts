/** The content of a message in the API: one member, named as `type` says. */
import { z } from 'zod'
import { publicId } from '../../kernel/ids.js'
import { contents, type InboundContent, type OutboundContent } from '../../platform/whatsapp/content.js'
import type { MessageRow } from './message.js'

const media = z
  .object({
    link: z.string(),
    mediaId: z.string(),
    mimeType: z.string(),
    caption: z.string(),
    filename: z.string(),
    voice: z.boolean(),
    gif: z.boolean(),
    animated: z.boolean(),
    viewOnce: z.boolean(),
    size: z.number(),
    sha256: z.string(),
    seconds: z.number(),
    width: z.number(),
    height: z.number(),
    mentions: z.array(z.string()),
  })
  .partial()

const about = { messageId: z.string().nullable().meta({ description: 'The message that it is about.' }) }

export const contentViews = {
  text: z
    .object({ body: z.string(), previewUrl: z.boolean().optional(), mentions: z.array(z.string()).optional() })
    .optional(),
  image: media.optional(),
  video: media.optional(),
  audio: media.optional(),
  document: media.optional(),
  sticker: media.optional(),
  location: contents.location.shape.location.optional(),
  contacts: contents.contacts.shape.contacts.optional(),
  poll: z.object({ question: z.string(), options: z.array(z.string()), maxSelections: z.number() }).optional(),
  vote: z.object({ ...about, options: z.array(z.string()) }).optional(),
  reaction: z.object({ ...about, emoji: z.string() }).optional(),
  edit: z.object({ ...about, text: z.object({ body: z.string() }) }).optional(),
  delete: z.object(about).optional(),
  unsupported: z
    .object({
      kind: z.string().meta({
        description:
          'What it is, as WhatsApp calls it. `view_once`: something to be opened once came, which WhatsApp shows on the phone only.',
      }),
    })
    .optional(),
  undecryptable: z.object({ reason: z.string() }).optional(),
}

export function viewContent({ content, contextId }: Pick<MessageRow, 'content' | 'contextId'>) {
  const messageId = contextId && publicId('msg', contextId)
  return withMessageId(content, messageId)
}

function withMessageId(content: OutboundContent | InboundContent, messageId: string | null) {
  switch (content.type) {
    case 'vote':
      return { type: content.type, vote: { options: [...content.vote.options], messageId } }
    case 'reaction':
      return { type: content.type, reaction: { emoji: content.reaction.emoji, messageId } }
    case 'edit':
      return { type: content.type, edit: { text: content.edit.text, messageId } }
    case 'delete':
      return { type: content.type, delete: { messageId } }
    default:
      return content
  }
}
