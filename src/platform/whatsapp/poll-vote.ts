/**
 * Votes of polls. A vote is encrypted under keys that are made of the poll's own secret, so that only who has the poll can
 * read it; it holds the SHA-256 of each option that was chosen.
 */
import { createCipheriv, createDecipheriv, createHash, createHmac, randomBytes } from 'node:crypto'
import type { SealedVote } from './whatsapp.js'

export interface VoteOf {
  /** WhatsApp id of the poll. */
  readonly pollId: string
  readonly pollSecret: Buffer
  /** Jids without device, in the addressing of the chat. */
  readonly pollAuthor: string
  readonly voter: string
}

const IV_BYTES = 12
const TAG_BYTES = 16

/** `encoded` is the provider's encoding of the chosen options' hashes. */
export function sealVote(vote: VoteOf, encoded: Uint8Array): SealedVote {
  const iv = randomBytes(IV_BYTES)
  const cipher = createCipheriv('aes-256-gcm', keyOf(vote), iv).setAAD(aadOf(vote))
  return { iv, payload: Buffer.concat([cipher.update(encoded), cipher.final(), cipher.getAuthTag()]) }
}

/** Undefined when it is not under these names: the same people are named by phone in one chat and by LID in another. */
export function openVote(vote: VoteOf, { iv, payload }: SealedVote): Buffer | undefined {
  try {
    const end = payload.length - TAG_BYTES
    const decipher = createDecipheriv('aes-256-gcm', keyOf(vote), iv).setAAD(aadOf(vote))
    decipher.setAuthTag(payload.subarray(end))
    return Buffer.concat([decipher.update(payload.subarray(0, end)), decipher.final()])
  } catch {
    return undefined
  }
}

export const optionHash = (option: string): Buffer => createHash('sha256').update(option).digest()

/** HKDF of one block, as WhatsApp writes it out: extract with an empty salt, expand with what names the vote. */
function keyOf({ pollId, pollSecret, pollAuthor, voter }: VoteOf): Buffer {
  const extracted = createHmac('sha256', Buffer.alloc(32)).update(pollSecret).digest()
  return createHmac('sha256', extracted)
    .update(Buffer.concat([Buffer.from(`${pollId}${pollAuthor}${voter}Poll Vote`), Buffer.of(1)]))
    .digest()
}

const aadOf = ({ pollId, voter }: VoteOf): Buffer => Buffer.from(`${pollId}\0${voter}`)
