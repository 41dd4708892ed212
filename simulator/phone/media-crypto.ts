import { createCipheriv, createDecipheriv, createHash, createHmac, hkdfSync } from 'node:crypto'

/** The file as it lies on the server, and what a message must say about it. */
export type EncryptedFile = {
  readonly bytes: Buffer
  readonly fileSha256: Buffer
  readonly fileEncSha256: Buffer
}

const MAC_BYTES = 10

/** AES-CBC and a shortened HMAC over iv and ciphertext, with keys that the media key and the kind of file give. */
export function encryptFile(plain: Uint8Array, mediaKey: Uint8Array, keyName: string): EncryptedFile {
  const { iv, cipherKey, macKey } = keysOf(mediaKey, keyName)
  const cipher = createCipheriv('aes-256-cbc', cipherKey, iv)
  const sealed = Buffer.concat([cipher.update(plain), cipher.final()])
  const bytes = Buffer.concat([sealed, macOf(macKey, iv, sealed)])
  return { bytes, fileSha256: sha256(plain), fileEncSha256: sha256(bytes) }
}

/** The plain file, checked as a phone checks it; what is wrong becomes a sentence. */
export function decryptFile(
  file: { bytes: Buffer; fileSha256: Uint8Array; fileEncSha256: Uint8Array },
  mediaKey: Uint8Array,
  keyName: string,
): { plain: Buffer } | { error: string } {
  if (!sha256(file.bytes).equals(file.fileEncSha256)) return { error: 'the encrypted file has another hash' }
  const { iv, cipherKey, macKey } = keysOf(mediaKey, keyName)
  const sealed = file.bytes.subarray(0, -MAC_BYTES)
  if (!macOf(macKey, iv, sealed).equals(file.bytes.subarray(-MAC_BYTES))) return { error: 'the MAC is wrong' }
  try {
    const decipher = createDecipheriv('aes-256-cbc', cipherKey, iv)
    const plain = Buffer.concat([decipher.update(sealed), decipher.final()])
    return sha256(plain).equals(file.fileSha256) ? { plain } : { error: 'the file has another hash' }
  } catch {
    return { error: 'the file does not decrypt' }
  }
}

export function sha256(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest()
}

function keysOf(mediaKey: Uint8Array, keyName: string) {
  const expanded = Buffer.from(hkdfSync('sha256', mediaKey, new Uint8Array(0), `WhatsApp ${keyName} Keys`, 112))
  return { iv: expanded.subarray(0, 16), cipherKey: expanded.subarray(16, 48), macKey: expanded.subarray(48, 80) }
}

function macOf(macKey: Uint8Array, iv: Uint8Array, sealed: Uint8Array): Buffer {
  return createHmac('sha256', macKey).update(iv).update(sealed).digest().subarray(0, MAC_BYTES)
}
