/**
 * Envelope encryption. A key-encryption key (KEK, from the operator) wraps one data key (DEK) per instance; values are
 * AES-256-GCM blobs. The additional data names tenant, instance, kind and id, so a blob that was moved to another row does
 * not open. Blob: version (1 byte) | IV (12) | tag (16) | ciphertext. Any failure to open throws: fail closed.
 */
import { createCipheriv, createDecipheriv, createHmac, hash, randomBytes, timingSafeEqual } from 'node:crypto'

const BLOB_VERSION = 1
const IV_BYTES = 12
const TAG_BYTES = 16
const HEADER_BYTES = 1 + IV_BYTES + TAG_BYTES
export const KEY_BYTES = 32

export function seal(key: Buffer, plaintext: Uint8Array, additionalData: string): Buffer {
  const iv = randomBytes(IV_BYTES)
  const cipher = createCipheriv('aes-256-gcm', key, iv)
  cipher.setAAD(Buffer.from(additionalData, 'utf8'))
  const body = Buffer.concat([cipher.update(plaintext), cipher.final()])
  return Buffer.concat([Buffer.of(BLOB_VERSION), iv, cipher.getAuthTag(), body])
}

export function open(key: Buffer, blob: Uint8Array, additionalData: string): Buffer {
  const bytes = Buffer.from(blob.buffer, blob.byteOffset, blob.byteLength)
  if (bytes.length < HEADER_BYTES || bytes[0] !== BLOB_VERSION) throw new Error('sealed value has an unknown format')
  const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(1, 1 + IV_BYTES))
  decipher.setAAD(Buffer.from(additionalData, 'utf8'))
  decipher.setAuthTag(bytes.subarray(1 + IV_BYTES, HEADER_BYTES))
  return Buffer.concat([decipher.update(bytes.subarray(HEADER_BYTES)), decipher.final()])
}

export const newKey = (): Buffer => randomBytes(KEY_BYTES)

export const sha256 = (data: string | Uint8Array): Buffer => hash('sha256', data, 'buffer')

export const hmacSha256 = (key: Uint8Array, data: string | Uint8Array): Buffer =>
  createHmac('sha256', key).update(data).digest()

/** Compares in constant time; unequal lengths are unequal. */
export function sameBytes(left: Uint8Array, right: Uint8Array): boolean {
  return left.length === right.length && timingSafeEqual(left, right)
}
