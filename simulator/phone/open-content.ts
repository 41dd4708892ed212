import { proto } from 'baileys'
import type { Simulation } from '../simulation.js'
import { jidIn } from '../wire/jid.js'
import type { Person } from '../world/world.js'
import { describeContent, mediaOf, pollOf, unwrapped } from './describe-content.js'
import { contentOf, type InboxMessage, type ReadMedia } from './inbox.js'
import { decryptFile, sha256 } from './media-crypto.js'
import { decryptVote } from './poll-vote.js'

const { Type } = proto.Message.ProtocolMessage
const ADDRESSINGS = ['pn', 'lid'] as const

/** Downloads and decrypts the file of a message, decrypts the vote in it, changes the message it edits or deletes. */
export function openContent(sim: Simulation, reader: Person, message: InboxMessage, content: proto.IMessage): void {
  const inner = unwrapped(content)
  const file = mediaOf(inner)
  if (file) message.media = openMedia(sim, message.whatsappId, file)
  if (inner.protocolMessage) change(reader, inner.protocolMessage)
  if (inner.pollUpdateMessage) message.vote = openVote(sim, reader, message, inner.pollUpdateMessage)
}

function change({ handset }: Person, { type, key, editedMessage }: proto.Message.IProtocolMessage): void {
  const id = key?.id ?? ''
  const target = handset?.inbox.find(id) ?? handset?.copies.find(id)
  if (!target) return
  if (type === Type.REVOKE) target.deleted = true
  if (type === Type.MESSAGE_EDIT && editedMessage) target.edited = describeContent(editedMessage).text
}

function openMedia(
  sim: Simulation,
  id: string,
  { media, keyName }: NonNullable<ReturnType<typeof mediaOf>>,
): ReadMedia {
  const { mediaKey, directPath, fileSha256, fileEncSha256 } = media
  if (!mediaKey || !directPath || !fileSha256 || !fileEncSha256) return { error: 'the message does not name its file' }
  sim.media.remember(id, mediaKey, directPath)
  const found = sim.media.download(directPath)
  if ('status' in found) return { error: `the download was answered ${found.status}` }
  const opened = decryptFile({ bytes: found.bytes, fileSha256, fileEncSha256 }, mediaKey, keyName)
  return 'error' in opened ? opened : { bytes: opened.plain.length, sha256: sha256(opened.plain).toString('hex') }
}

function openVote(
  sim: Simulation,
  reader: Person,
  { from }: InboxMessage,
  update: proto.Message.IPollUpdateMessage,
): string[] | null {
  const pollId = update.pollCreationMessageKey?.id ?? ''
  const poll = knownMessage(reader, pollId)
  const voter = sim.world.find(from)
  const creator = poll && sim.world.find(poll.author)
  const pollSecret = poll?.content.messageContextInfo?.messageSecret
  if (!voter || !creator || !pollSecret || !update.vote) return null
  const options = (pollOf(unwrapped(poll.content))?.options ?? []).map(({ optionName }) => optionName ?? '')
  // The vote is bound to the jids its writer knows both people under; which kind, only the seal can tell.
  for (const creatorAs of ADDRESSINGS) {
    for (const voterAs of ADDRESSINGS) {
      const keys = { pollId, pollSecret, creator: jidIn(creatorAs, creator), voter: jidIn(voterAs, voter) }
      const chosen = decryptVote(update.vote, keys, options)
      if (chosen) return chosen
    }
  }
  return null
}

export type KnownMessage = { readonly author: string; readonly content: proto.IMessage }

/** A message this phone has read or written, by its id. */
export function knownMessage({ phone, handset }: Person, id: string): KnownMessage | null {
  const own = handset?.sent.get(id)
  if (own) return { author: phone, content: own.content }
  const read = handset?.inbox.find(id) ?? handset?.copies.find(id)
  return read ? { author: read.from, content: contentOf(read) } : null
}
