import { proto } from 'baileys'
import { contextOf, describeContent, isViewOnce, mediaOf, pollOf, unwrapped } from '../phone/describe-content.js'
import { contentOf, type InboxMessage } from '../phone/inbox.js'
import { parseJid } from '../wire/jid.js'
import type { World } from '../world/world.js'

/** A message as its reader sees it, and as it was decoded (bytes in base64). */
export function inboxMessageView(world: World, message: InboxMessage) {
  const { encoded, media, vote, device, address: _, ...shown } = message
  const decoded = contentOf(message)
  const content = unwrapped(decoded)
  const context = contextOf(content)
  const type = encoded ? describeContent(content).type : 'sealed'
  return {
    ...shown,
    device,
    type,
    mentions: (context?.mentionedJid ?? []).map((jid) => phoneOf(world, jid)),
    replyTo: context?.stanzaId ? replyView(world, context) : null,
    media: mediaView(content, media),
    viewOnce: isViewOnce(decoded),
    poll: pollView(content),
    vote: content.pollUpdateMessage
      ? { pollId: idOf(content.pollUpdateMessage.pollCreationMessageKey), options: vote }
      : null,
    reaction: content.reactionMessage
      ? { id: idOf(content.reactionMessage.key), emoji: content.reactionMessage.text ?? '' }
      : null,
    refersTo: refersTo(content),
    message: encoded ? asJson(decoded) : null,
  }
}

function replyView(world: World, context: proto.IContextInfo) {
  const quoted = context.quotedMessage
  return {
    id: context.stanzaId ?? '',
    from: context.participant ? phoneOf(world, context.participant) : null,
    text: quoted ? describeContent(quoted).text : '',
  }
}

/** The number of whoever the jid names, by number or lid; of a stranger the user part. */
function phoneOf(world: World, jid: string): string {
  const user = parseJid(jid)?.user ?? jid
  return world.findByJidUser(user)?.phone ?? user
}

function mediaView(content: proto.IMessage, read: InboxMessage['media']) {
  const found = mediaOf(content)
  if (!found) return null
  const { mimetype, fileName, seconds, caption } = found.media
  return {
    mimeType: mimetype ?? null,
    filename: fileName ?? null,
    caption: caption ?? null,
    seconds: seconds ?? null,
    voice: found.type === 'ptt',
    ...read,
  }
}

function pollView(content: proto.IMessage) {
  const poll = pollOf(content)
  if (!poll) return null
  return {
    question: poll.name ?? '',
    options: (poll.options ?? []).map(({ optionName }) => optionName ?? ''),
    selectable: poll.selectableOptionsCount ?? 0,
  }
}

/** The earlier message that an edit, a deletion, a reaction or a vote is about. */
function refersTo({ protocolMessage, reactionMessage, pollUpdateMessage }: proto.IMessage): string | null {
  return protocolMessage?.key?.id ?? reactionMessage?.key?.id ?? pollUpdateMessage?.pollCreationMessageKey?.id ?? null
}

function idOf(key: proto.IMessageKey | null | undefined): string {
  return key?.id ?? ''
}

function asJson(content: proto.IMessage): unknown {
  return proto.Message.toObject(proto.Message.fromObject(content), { bytes: String, longs: Number, enums: String })
}
