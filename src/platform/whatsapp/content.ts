/**
 * What a message says: the grammar of the Cloud API in camelCase. `outboundContent` is what a caller may send, and what is
 * stored of it; what comes in has the same shapes, and a few more.
 *
 * A content that is about another message (`reaction`, `vote`, `edit`, `delete`) names it by our id where we send it. What
 * travels beside the content, and is stored beside it, is the message's reference (`context` in the API).
 */
import { z } from 'zod'
import { isStorable } from '../../kernel/storable-text.js'

export const TEXT_MAX_LENGTH = 65_536
const CAPTION_MAX_LENGTH = 4_096
const NAME_MAX_LENGTH = 1_024
/** WhatsApp's largest group has 1,024 members. */
const MENTIONS_MAX = 1_024
const POLL_MIN_OPTIONS = 2
const POLL_MAX_OPTIONS = 12
/** Family emoji are sequences of several code points. */
const EMOJI_MAX_LENGTH = 64

const string = (max: number) =>
  z.string().max(max).refine(isStorable, 'must not hold NUL characters or halves of surrogate pairs')
const someText = (max: number) => string(max).min(1)

const mentions = z
  .array(z.string().min(1).max(64))
  .max(MENTIONS_MAX)
  .optional()
  .meta({ description: 'Who is mentioned: numbers, jids or LIDs. The text holds `@` and the digits of each.' })
const caption = string(CAPTION_MAX_LENGTH).optional()

/** Media comes from a link, or was uploaded before (`POST /api/media`). */
const source = {
  link: z
    .url({ protocol: /^https?$/ })
    .max(2_048)
    .optional(),
  mediaId: z.string().max(64).optional(),
}
const hasOneSource = ({ link, mediaId }: { link?: string | undefined; mediaId?: string | undefined }): boolean =>
  (link === undefined) !== (mediaId === undefined)
const ONE_SOURCE = 'must have either `link` or `mediaId`'

const viewOnce = z.boolean().optional().meta({
  description: 'Can be opened once, on the phone only: linked devices are told no more than that it came.',
})

const phone = z.strictObject({
  phone: someText(64),
  type: string(64).optional(),
  waId: z
    .string()
    .regex(/^\d{5,20}$/)
    .optional(),
})
const card = z.strictObject({
  name: z.strictObject({
    formattedName: someText(NAME_MAX_LENGTH),
    firstName: string(NAME_MAX_LENGTH).optional(),
    lastName: string(NAME_MAX_LENGTH).optional(),
  }),
  phones: z.array(phone).max(20).default([]),
  emails: z
    .array(z.strictObject({ email: someText(320), type: string(64).optional() }))
    .max(20)
    .optional(),
  org: z
    .strictObject({ company: string(NAME_MAX_LENGTH).optional(), title: string(NAME_MAX_LENGTH).optional() })
    .optional(),
})

const about = { messageId: z.string().max(64).meta({ description: 'The message that it is about.' }) }

const text = z.strictObject({
  body: someText(TEXT_MAX_LENGTH),
  previewUrl: z.boolean().optional().meta({ description: 'Show a preview of the first link in the text.' }),
  mentions,
})

export const contents = {
  text: z.strictObject({ type: z.literal('text'), text }),
  image: z.strictObject({
    type: z.literal('image'),
    image: z.strictObject({ ...source, caption, mentions, viewOnce }).refine(hasOneSource, ONE_SOURCE),
  }),
  video: z.strictObject({
    type: z.literal('video'),
    video: z
      .strictObject({ ...source, caption, mentions, gif: z.boolean().optional(), viewOnce })
      .refine(hasOneSource, ONE_SOURCE)
      .refine(({ gif, viewOnce }) => !(gif && viewOnce), 'must not be both `gif` and `viewOnce`'),
  }),
  audio: z.strictObject({
    type: z.literal('audio'),
    audio: z
      .strictObject({
        ...source,
        voice: z.boolean().optional().meta({ description: 'A voice note: plays in the chat, with a wave form.' }),
        viewOnce,
      })
      .refine(hasOneSource, ONE_SOURCE)
      .refine(({ voice, viewOnce }) => voice || !viewOnce, 'must be a `voice` note to be `viewOnce`'),
  }),
  document: z.strictObject({
    type: z.literal('document'),
    document: z
      .strictObject({ ...source, caption, mentions, filename: someText(255).optional() })
      .refine(hasOneSource, ONE_SOURCE),
  }),
  sticker: z.strictObject({
    type: z.literal('sticker'),
    sticker: z.strictObject({ ...source }).refine(hasOneSource, ONE_SOURCE),
  }),
  location: z.strictObject({
    type: z.literal('location'),
    location: z.strictObject({
      latitude: z.number().min(-90).max(90),
      longitude: z.number().min(-180).max(180),
      name: string(NAME_MAX_LENGTH).optional(),
      address: string(NAME_MAX_LENGTH).optional(),
    }),
  }),
  contacts: z.strictObject({ type: z.literal('contacts'), contacts: z.array(card).min(1).max(256) }),
  poll: z.strictObject({
    type: z.literal('poll'),
    poll: z.strictObject({
      question: someText(255),
      options: z
        .array(someText(100))
        .min(POLL_MIN_OPTIONS)
        .max(POLL_MAX_OPTIONS)
        .refine((options) => new Set(options).size === options.length, 'must not repeat an option'),
      maxSelections: z
        .number()
        .int()
        .min(0)
        .max(POLL_MAX_OPTIONS)
        .default(1)
        .meta({ description: '0: as many as one likes.' }),
    }),
  }),
  vote: z.strictObject({
    type: z.literal('vote'),
    vote: z.strictObject({
      ...about,
      options: z.array(someText(100)).max(POLL_MAX_OPTIONS).meta({ description: 'Empty: the vote is taken back.' }),
    }),
  }),
  reaction: z.strictObject({
    type: z.literal('reaction'),
    reaction: z.strictObject({
      ...about,
      emoji: string(EMOJI_MAX_LENGTH).meta({ description: 'Empty: the reaction is taken back.' }),
    }),
  }),
  edit: z.strictObject({
    type: z.literal('edit'),
    edit: z.strictObject({ ...about, text: z.strictObject({ body: someText(TEXT_MAX_LENGTH) }) }),
  }),
  delete: z.strictObject({ type: z.literal('delete'), delete: z.strictObject(about) }),
}

export const outboundContent = z.discriminatedUnion('type', [
  contents.text,
  contents.image,
  contents.video,
  contents.audio,
  contents.document,
  contents.sticker,
  contents.location,
  contents.contacts,
  contents.poll,
  contents.vote,
  contents.reaction,
  contents.edit,
  contents.delete,
])
export type OutboundContent = z.infer<typeof outboundContent>

/** Contents that change or judge another message. */
type AboutType = 'vote' | 'reaction' | 'edit' | 'delete'
export type MediaType = 'image' | 'video' | 'audio' | 'document' | 'sticker'

/** Media as it came in; the bytes follow. */
export interface InboundMedia {
  readonly mimeType: string
  readonly caption?: string
  readonly filename?: string
  readonly voice?: boolean
  readonly gif?: boolean
  readonly animated?: boolean
  readonly viewOnce?: boolean
  /** Bytes, as the sender says. */
  readonly size?: number
  /** Hex, of the plain file, as the sender says. */
  readonly sha256?: string
  readonly seconds?: number
  readonly width?: number
  readonly height?: number
  /** Jids. */
  readonly mentions?: string[]
}

type MediaContent = {
  readonly [Type in MediaType]: { readonly type: Type } & { readonly [Name in Type]: InboundMedia }
}[MediaType]

type AboutContent =
  | { readonly type: 'vote'; readonly vote: { readonly options: readonly string[] } }
  | { readonly type: 'reaction'; readonly reaction: { readonly emoji: string } }
  | { readonly type: 'edit'; readonly edit: { readonly text: { readonly body: string } } }
  | { readonly type: 'delete'; readonly delete: object }

/** `unsupported` names what came, so that nothing that WhatsApp delivered disappears without a trace. */
export type InboundContent =
  | Exclude<OutboundContent, { type: MediaType | AboutType }>
  | MediaContent
  | AboutContent
  | { readonly type: 'unsupported'; readonly unsupported: { readonly kind: string } }
  | { readonly type: 'undecryptable'; readonly undecryptable: { readonly reason: string } }

/** The message that a content is about, by our id as the caller gave it. */
export function subjectOf(content: OutboundContent): string | undefined {
  switch (content.type) {
    case 'vote':
      return content.vote.messageId
    case 'reaction':
      return content.reaction.messageId
    case 'edit':
      return content.edit.messageId
    case 'delete':
      return content.delete.messageId
    default:
      return undefined
  }
}
