/** Reads votes, each with the secret of its poll. */
import type { ChatId } from '../../kernel/ids.js'
import type { Queryable } from '../../platform/database/database.js'
import type { InboundContent } from '../../platform/whatsapp/content.js'
import { toJid, type WhatsAppAddress, waIdFromPhone } from '../../platform/whatsapp/jid.js'
import { openVote, optionHash } from '../../platform/whatsapp/poll-vote.js'
import type { InboundMessage } from '../../platform/whatsapp/whatsapp.js'
import { findPoll, type PollRow } from './ingest-store.js'

/** A vote is a repeated field of bytes: this tag, this length, a SHA-256. */
const FIELD_TAG = 0x0a
const HASH_BYTES = 32

/** What a vote chose, by name. `unsupported` when its poll is not known, or cannot be read with it. */
export async function openVoteIn(
  db: Queryable,
  owner: Parameters<typeof findPoll>[1],
  chatId: ChatId,
  message: InboundMessage,
): Promise<InboundContent> {
  const poll = message.reference && (await findPoll(db, owner, chatId, message.reference.whatsappId))
  return (poll && readBallot(message, poll)) ?? { type: 'unsupported', unsupported: { kind: 'vote' } }
}

/** Pure. The vote was made under the names that people have in its chat: by phone or by LID, so all are tried. */
function readBallot(message: InboundMessage, poll: PollRow): InboundContent | undefined {
  const { sealedVote, reference, sender } = message
  if (!sealedVote || !reference || poll.content.type !== 'poll') return undefined
  const ours = jidsOf(poll.ownPhone ? [poll.ownPhone] : [], poll.ownLid ? [poll.ownLid] : [])
  const authors = poll.byUs ? ours : jidsOf(poll.phones, poll.lids)
  const voters = sender ? addressJids(sender) : ours
  for (const pollAuthor of authors) {
    for (const voter of voters) {
      const vote = { pollId: reference.whatsappId, pollSecret: poll.secret, pollAuthor, voter }
      const opened = openVote(vote, sealedVote)
      if (opened) return { type: 'vote', vote: { options: chosen(opened, poll.content.poll.options) } }
    }
  }
  return undefined
}

function chosen(encoded: Buffer, options: readonly string[]): string[] {
  const hashes = new Set<string>()
  for (let at = 0; encoded[at] === FIELD_TAG && encoded[at + 1] === HASH_BYTES; at += 2 + HASH_BYTES) {
    hashes.add(encoded.toString('hex', at + 2, at + 2 + HASH_BYTES))
  }
  return options.filter((option) => hashes.has(optionHash(option).toString('hex')))
}

const jidsOf = (phones: readonly string[], lids: readonly string[]): string[] => [
  ...phones.map((phone) => toJid({ waId: waIdFromPhone(phone) })),
  ...lids.map((lid) => toJid({ lid })),
]

const addressJids = ({ waId, lid }: WhatsAppAddress): string[] => [
  ...(waId ? [toJid({ waId })] : []),
  ...(lid ? [toJid({ lid })] : []),
]
