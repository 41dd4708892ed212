/**
 * What the journal keeps of an inbound message: enough of its stanza to read it again without a connection, and the plaintext
 * as it was decrypted. Attributes and the tags of the children are kept; their contents are not (the encrypted payload would
 * double the row, the rest is for the library).
 *
 * Layout: version (1 byte), length of the header (4 bytes, big endian), header (JSON), plaintext.
 */
import type { WhatsAppAddress } from '../jid.js'

const VERSION = 1
const HEADER_AT = 5

export interface Envelope {
  readonly attrs: Readonly<Record<string, string>>
  readonly parts: readonly { readonly tag: string; readonly attrs: Readonly<Record<string, string>> }[]
  /** Our own number, to know what we wrote ourselves on another device. */
  readonly me: WhatsAppAddress
}

export interface RawEntry {
  readonly envelope: Envelope
  readonly plaintext: Buffer
}

export function encodeRaw({ envelope, plaintext }: { envelope: Envelope; plaintext: Uint8Array }): Buffer {
  const header = JSON.stringify(envelope)
  const length = Buffer.byteLength(header)
  const payload = Buffer.allocUnsafe(HEADER_AT + length + plaintext.length)
  payload[0] = VERSION
  payload.writeUInt32BE(length, 1)
  payload.write(header, HEADER_AT)
  payload.set(plaintext, HEADER_AT + length)
  return payload
}

/** Throws on a payload that `encodeRaw` did not write. */
export function decodeRaw(payload: Buffer): RawEntry {
  if (payload[0] !== VERSION) throw new TypeError('a raw entry of unknown version')
  const end = HEADER_AT + payload.readUInt32BE(1)
  const envelope = JSON.parse(payload.toString('utf8', HEADER_AT, end)) as Envelope
  return { envelope, plaintext: Buffer.from(payload.subarray(end)) }
}
