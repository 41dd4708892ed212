/**
 * How WhatsApp encrypts files: AES-256-CBC, then the first ten bytes of an HMAC-SHA256 over IV and ciphertext. Streamed both
 * ways. (The library's own decryption looks at neither the HMAC nor the hash of the file; this one ends with an error when
 * either is wrong, so what was stored until then must be thrown away.)
 */
import { createCipheriv, createDecipheriv, createHash, createHmac } from 'node:crypto'
import { sameBytes } from '../../../kernel/crypto.js'
import { MediaError } from '../whatsapp.js'

export interface MediaKeys {
  readonly iv: Uint8Array
  readonly cipherKey: Uint8Array
  readonly macKey: Uint8Array
}

const MAC_BYTES = 10
const BLOCK_BYTES = 16

/** How long a file of this size is when it is encrypted. */
export const encryptedSize = (size: number): number => (Math.floor(size / BLOCK_BYTES) + 1) * BLOCK_BYTES + MAC_BYTES

export async function* encryptMedia(
  content: AsyncIterable<Uint8Array>,
  { iv, cipherKey, macKey }: MediaKeys,
): AsyncGenerator<Buffer> {
  const cipher = createCipheriv('aes-256-cbc', cipherKey, iv)
  const mac = createHmac('sha256', macKey).update(iv)
  for await (const chunk of content) {
    const sealed = cipher.update(chunk)
    mac.update(sealed)
    yield sealed
  }
  const last = cipher.final()
  yield Buffer.concat([last, mac.update(last).digest().subarray(0, MAC_BYTES)])
}

/** Throws MediaError `corrupt` at the end when this was not what its sender encrypted. */
export async function* decryptMedia(
  content: AsyncIterable<Uint8Array>,
  { iv, cipherKey, macKey }: MediaKeys,
  sha256: Uint8Array | undefined,
): AsyncGenerator<Buffer> {
  const decipher = createDecipheriv('aes-256-cbc', cipherKey, iv)
  const mac = createHmac('sha256', macKey).update(iv)
  const hash = createHash('sha256')
  // The last ten bytes are the code, and any ten may be the last.
  let tail: Uint8Array = Buffer.alloc(0)
  for await (const chunk of content) {
    const pending = Buffer.concat([tail, chunk])
    const sealed = pending.subarray(0, Math.max(0, pending.length - MAC_BYTES))
    tail = pending.subarray(sealed.length)
    mac.update(sealed)
    const plain = decipher.update(sealed)
    hash.update(plain)
    if (plain.length > 0) yield plain
  }
  if (tail.length < MAC_BYTES || !sameBytes(mac.digest().subarray(0, MAC_BYTES), tail)) throw new MediaError('corrupt')
  const last = finalOf(decipher)
  hash.update(last)
  if (last.length > 0) yield last
  if (sha256?.length && !sameBytes(hash.digest(), sha256)) throw new MediaError('corrupt')
}

function finalOf(decipher: { final(): Buffer }): Buffer {
  try {
    return decipher.final()
  } catch (cause) {
    throw new MediaError('corrupt', { cause })
  }
}
