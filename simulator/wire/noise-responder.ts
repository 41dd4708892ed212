import { createCipheriv, createDecipheriv, createHash, hkdfSync } from 'node:crypto'
import { type KeyPair, sharedKey } from './curve.js'

const PATTERN = Buffer.from('Noise_XX_25519_AESGCM_SHA256\0\0\0\0')
const NOTHING = Buffer.alloc(0)

export type ServerHello = { readonly ephemeral: Buffer; readonly static: Buffer; readonly payload: Buffer }
export type ClientFinish = { readonly clientStatic: Buffer; readonly payload: Buffer; readonly transport: Transport }
export type Transport = { encrypt(plain: Uint8Array): Buffer; decrypt(sealed: Uint8Array): Buffer }

export type NoiseResponder = {
  answerHello(clientEphemeral: Uint8Array): ServerHello
  finish(encryptedStatic: Uint8Array, encryptedPayload: Uint8Array): ClientFinish
}

/** The responder's side of Noise XX, written from the pattern and not from the client's code. */
export function createNoiseResponder(options: {
  header: Uint8Array
  staticKeys: KeyPair
  ephemeralKeys: KeyPair
  certificate: Uint8Array
}): NoiseResponder {
  const { staticKeys, ephemeralKeys } = options
  // The pattern name is exactly 32 bytes, so Noise uses it as it is instead of hashing it.
  let hash: Buffer = PATTERN
  let chainingKey: Buffer = PATTERN
  let key: Buffer = PATTERN
  let counter = 0

  const mixHash = (data: Uint8Array) => {
    hash = createHash('sha256').update(hash).update(data).digest()
  }
  const mixKey = (input: Uint8Array) => {
    ;[chainingKey, key] = expand(input, chainingKey)
    counter = 0
  }
  const encryptAndHash = (plain: Uint8Array) => {
    const sealed = seal({ key, counter: counter++, data: plain, aad: hash })
    mixHash(sealed)
    return sealed
  }
  const decryptAndHash = (sealed: Uint8Array) => {
    const plain = open({ key, counter: counter++, data: sealed, aad: hash })
    mixHash(sealed)
    return plain
  }

  mixHash(options.header)
  return {
    answerHello(clientEphemeral) {
      mixHash(clientEphemeral)
      mixHash(ephemeralKeys.public)
      mixKey(sharedKey(ephemeralKeys.private, clientEphemeral))
      const encryptedStatic = encryptAndHash(staticKeys.public)
      mixKey(sharedKey(staticKeys.private, clientEphemeral))
      const payload = encryptAndHash(options.certificate)
      return { ephemeral: Buffer.from(ephemeralKeys.public), static: encryptedStatic, payload }
    },
    finish(encryptedStatic, encryptedPayload) {
      const clientStatic = decryptAndHash(encryptedStatic)
      mixKey(sharedKey(ephemeralKeys.private, clientStatic))
      const payload = decryptAndHash(encryptedPayload)
      const [clientToServer, serverToClient] = expand(NOTHING, chainingKey)
      return { clientStatic, payload, transport: createTransport({ read: clientToServer, write: serverToClient }) }
    },
  }
}

/** After the split: one key and one counter for each direction, nothing authenticated besides the data. */
export function createTransport(keys: { read: Buffer; write: Buffer }): Transport {
  let written = 0
  let readCount = 0
  return {
    encrypt: (plain) => seal({ key: keys.write, counter: written++, data: plain, aad: NOTHING }),
    decrypt: (sealed) => open({ key: keys.read, counter: readCount++, data: sealed, aad: NOTHING }),
  }
}

type Sealing = { key: Buffer; counter: number; data: Uint8Array; aad: Buffer }

function seal({ key, counter, data, aad }: Sealing): Buffer {
  const cipher = createCipheriv('aes-256-gcm', key, nonce(counter)).setAAD(aad)
  return Buffer.concat([cipher.update(data), cipher.final(), cipher.getAuthTag()])
}

function open({ key, counter, data, aad }: Sealing): Buffer {
  if (data.length < 16) throw new Error('a sealed frame is shorter than its tag')
  const decipher = createDecipheriv('aes-256-gcm', key, nonce(counter)).setAAD(aad)
  decipher.setAuthTag(data.subarray(data.length - 16))
  return Buffer.concat([decipher.update(data.subarray(0, data.length - 16)), decipher.final()])
}

function nonce(counter: number): Buffer {
  const bytes = Buffer.alloc(12)
  bytes.writeUInt32BE(counter, 8)
  return bytes
}

function expand(input: Uint8Array, salt: Buffer): [Buffer, Buffer] {
  const bytes = Buffer.from(hkdfSync('sha256', input, salt, NOTHING, 64))
  return [bytes.subarray(0, 32), bytes.subarray(32)]
}
