import { createCipheriv, createDecipheriv, createHash, createHmac } from 'node:crypto'
import { proto } from 'baileys'

export type PollKeys = {
  readonly pollId: string
  readonly pollSecret: Uint8Array
  readonly creator: string
  readonly voter: string
}

const TAG_BYTES = 16

/** Seals a vote so that only those who have the poll can read it: an option is named by the hash of its text. */
export function encryptVote(options: readonly string[], keys: PollKeys, iv: Uint8Array): proto.Message.IPollEncValue {
  const vote = proto.Message.PollVoteMessage.encode({ selectedOptions: options.map(hashOf) }).finish()
  const cipher = createCipheriv('aes-256-gcm', voteKey(keys), iv)
  cipher.setAAD(Buffer.from(`${keys.pollId}\0${keys.voter}`))
  const encPayload = Buffer.concat([cipher.update(vote), cipher.final(), cipher.getAuthTag()])
  return { encPayload, encIv: iv }
}

/** The chosen options' texts; null when the keys are not those of this vote. */
export function decryptVote(
  { encPayload, encIv }: proto.Message.IPollEncValue,
  keys: PollKeys,
  options: readonly string[],
): string[] | null {
  if (!encPayload || !encIv || encPayload.length < TAG_BYTES) return null
  const decipher = createDecipheriv('aes-256-gcm', voteKey(keys), encIv)
  decipher.setAAD(Buffer.from(`${keys.pollId}\0${keys.voter}`))
  decipher.setAuthTag(encPayload.subarray(encPayload.length - TAG_BYTES))
  try {
    const body = encPayload.subarray(0, encPayload.length - TAG_BYTES)
    const vote = proto.Message.PollVoteMessage.decode(Buffer.concat([decipher.update(body), decipher.final()]))
    const chosen = (vote.selectedOptions ?? []).map((hash) => Buffer.from(hash).toString('hex'))
    return options.filter((option) => chosen.includes(hashOf(option).toString('hex')))
  } catch {
    return null
  }
}

function voteKey({ pollId, pollSecret, creator, voter }: PollKeys): Buffer {
  const extracted = createHmac('sha256', new Uint8Array(32)).update(pollSecret).digest()
  const info = Buffer.concat([...[pollId, creator, voter, 'Poll Vote'].map((text) => Buffer.from(text)), Buffer.of(1)])
  return createHmac('sha256', extracted).update(info).digest()
}

function hashOf(option: string): Buffer {
  return createHash('sha256').update(option).digest()
}
