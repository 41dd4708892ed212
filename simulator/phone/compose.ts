import { proto } from 'baileys'
import type { Simulation } from '../simulation.js'
import { jidIn, pnJid } from '../wire/jid.js'
import type { Person } from '../world/world.js'
import { addressingIn, type Chat, jidOfChat } from './chat.js'
import { composeMedia, type MediaDraft } from './compose-media.js'
import { mediaOf, pollOf, unwrapped } from './describe-content.js'
import { knownMessage } from './open-content.js'
import { encryptVote } from './poll-vote.js'

const { Type } = proto.Message.ProtocolMessage

/** What somebody wants to say. */
export type Draft = {
  readonly text?: string | undefined
  readonly replyTo?: { readonly id: string; readonly text?: string | undefined; readonly fromMe?: boolean | undefined }
  /** Phone numbers. */
  readonly mentions?: readonly string[]
  readonly linkPreview?: { readonly url: string; readonly title?: string; readonly description?: string }
  readonly media?: MediaDraft
  readonly location?: {
    readonly latitude: number
    readonly longitude: number
    readonly name?: string
    readonly address?: string
  }
  readonly contacts?: readonly { readonly name: string; readonly phone: string }[]
  readonly poll?: { readonly question: string; readonly options: readonly string[]; readonly selectable: number }
  readonly vote?: { readonly pollId: string; readonly options: readonly string[] }
  readonly reaction?: { readonly id: string; readonly emoji: string; readonly fromMe?: boolean }
  readonly edit?: { readonly id: string; readonly text: string }
  readonly delete?: { readonly id: string; readonly fromMe?: boolean }
  /** Any content there is. */
  readonly message?: proto.IMessage
}

/** About a draft that cannot become a message. */
export class DraftError extends Error {}

type Composing = { sim: Simulation; author: Person; chat: Chat; draft: Draft }

/** The content of the message that says it. */
export function composeMessage(composing: Composing): proto.IMessage {
  const { draft } = composing
  if (draft.message) return draft.message
  const context = contextOfDraft(composing)
  if (draft.media) return composeMedia(composing.sim, composing.author, draft.media, context)
  if (draft.location) return locationMessage(draft.location, context)
  if (draft.contacts) return contactsMessage(draft.contacts, context)
  if (draft.poll) return pollMessage(composing, draft.poll, context)
  if (draft.vote) return voteMessage(composing, draft.vote)
  if (draft.reaction) {
    const { id, emoji, fromMe } = draft.reaction
    return {
      reactionMessage: {
        key: keyOf(composing, id, fromMe),
        text: emoji,
        senderTimestampMs: Math.floor(composing.sim.now()),
      },
    }
  }
  if (draft.edit) return editMessage(composing, draft.edit)
  if (draft.delete) {
    return { protocolMessage: { key: keyOf(composing, draft.delete.id, draft.delete.fromMe), type: Type.REVOKE } }
  }
  return textMessage(draft, context)
}

function textMessage({ text, linkPreview }: Draft, contextInfo: proto.IContextInfo | null): proto.IMessage {
  if (!text) throw new DraftError('there is nothing to send: neither text nor any other content')
  if (!contextInfo && !linkPreview) return { conversation: text }
  const preview = linkPreview && {
    matchedText: linkPreview.url,
    title: linkPreview.title ?? null,
    description: linkPreview.description ?? null,
    previewType: proto.Message.ExtendedTextMessage.PreviewType.NONE,
  }
  return { extendedTextMessage: { text, contextInfo, ...preview } }
}

/** Reply and mentions, which any visible content may have. */
function contextOfDraft({ sim, author, chat, draft }: Composing): proto.IContextInfo | null {
  const { replyTo, mentions = [] } = draft
  if (!replyTo && mentions.length === 0) return null
  const addressing = addressingIn(chat, author)
  const mentionedJid = mentions.map((phone) => jidIn(addressing, sim.world.find(phone) ?? unknownPerson(phone)))
  if (!replyTo) return { mentionedJid }
  const known = knownMessage(author, replyTo.id)
  const quotedAuthor = authorOf({ sim, author, chat }, replyTo.id, replyTo.fromMe)
  return {
    mentionedJid,
    stanzaId: replyTo.id,
    participant: jidIn(addressing, quotedAuthor),
    quotedMessage: replyTo.text === undefined ? (known?.content ?? {}) : { conversation: replyTo.text },
  }
}

function locationMessage(
  { latitude, longitude, ...where }: NonNullable<Draft['location']>,
  contextInfo: proto.IContextInfo | null,
): proto.IMessage {
  const { name = null, address = null } = where
  return { locationMessage: { degreesLatitude: latitude, degreesLongitude: longitude, name, address, contextInfo } }
}

function contactsMessage(
  people: NonNullable<Draft['contacts']>,
  contextInfo: proto.IContextInfo | null,
): proto.IMessage {
  const cards = people.map(({ name, phone }) => ({ displayName: name, vcard: vcardOf(name, phone) }))
  const [only] = cards
  if (only && cards.length === 1) return { contactMessage: { ...only, contextInfo } }
  return { contactsArrayMessage: { displayName: `${cards.length} contacts`, contacts: cards, contextInfo } }
}

function vcardOf(name: string, phone: string): string {
  return `BEGIN:VCARD\nVERSION:3.0\nFN:${name}\nTEL;type=CELL;waid=${phone}:+${phone}\nEND:VCARD`
}

function pollMessage(
  { sim, author }: Composing,
  { question, options, selectable }: NonNullable<Draft['poll']>,
  contextInfo: proto.IContextInfo | null,
): proto.IMessage {
  const poll = {
    name: question,
    options: options.map((optionName) => ({ optionName })),
    selectableOptionsCount: selectable,
    contextInfo,
  }
  const messageContextInfo = { messageSecret: sim.seeded.bytes(sim.nextId(`poll-secret/${author.phone}`), 32) }
  return selectable === 1
    ? { messageContextInfo, pollCreationMessageV3: poll }
    : { messageContextInfo, pollCreationMessage: poll }
}

function voteMessage(composing: Composing, { pollId, options }: NonNullable<Draft['vote']>): proto.IMessage {
  const { sim, author, chat } = composing
  const poll = knownMessage(author, pollId)
  const pollSecret = poll?.content.messageContextInfo?.messageSecret
  const known = (pollOf(unwrapped(poll?.content ?? {}))?.options ?? []).map(({ optionName }) => optionName)
  if (!pollSecret) throw new DraftError(`${author.phone} has no poll ${pollId}`)
  const strange = options.find((option) => !known.includes(option))
  if (strange !== undefined) throw new DraftError(`the poll has no option "${strange}"`)
  const addressing = addressingIn(chat, author)
  const keys = {
    pollId,
    pollSecret,
    creator: jidIn(addressing, authorOf(composing, pollId)),
    voter: jidIn(addressing, author),
  }
  const vote = encryptVote(options, keys, sim.seeded.bytes(sim.nextId(`vote/${author.phone}`), 12))
  return {
    pollUpdateMessage: {
      pollCreationMessageKey: keyOf(composing, pollId),
      vote,
      senderTimestampMs: Math.floor(sim.now()),
    },
  }
}

function editMessage(composing: Composing, { id, text }: NonNullable<Draft['edit']>): proto.IMessage {
  const before = unwrapped(knownMessage(composing.author, id)?.content ?? {})
  const field = mediaOf(before) && Object.keys(before).find((name) => name.endsWith('Message'))
  const editedMessage = field
    ? { [field]: { ...(before as Record<string, object>)[field], caption: text } }
    : { conversation: text }
  const timestampMs = Math.floor(composing.sim.now())
  return { protocolMessage: { key: keyOf(composing, id, true), type: Type.MESSAGE_EDIT, editedMessage, timestampMs } }
}

/** An earlier message of the chat, as this author names it. */
function keyOf(composing: Composing, id: string, fromMe?: boolean): proto.IMessageKey {
  const { author, chat } = composing
  const writer = authorOf(composing, id, fromMe)
  const key = { remoteJid: jidOfChat(chat, author), fromMe: writer === author, id }
  return chat.kind === 'direct' ? key : { ...key, participant: jidIn(addressingIn(chat, author), writer) }
}

/** Who wrote it: known from the id, or said, or the other one of the two. */
function authorOf({ sim, author, chat }: Omit<Composing, 'draft'>, id: string, fromMe?: boolean): Person {
  if (fromMe === true) return author
  const known = fromMe === undefined ? knownMessage(author, id)?.author : undefined
  const writer = known === undefined ? undefined : sim.world.find(known)
  if (writer) return writer
  if (chat.kind === 'direct') return chat.person
  throw new DraftError(`${author.phone} has not seen message ${id} in this chat`)
}

function unknownPerson(phone: string): never {
  throw new DraftError(`${phone} is not on WhatsApp (${pnJid(phone)}), and cannot be mentioned`)
}
