import { createPrivateKey, createPublicKey, diffieHellman, verify as verifyEd25519 } from 'node:crypto'
import { Curve } from 'baileys'

export type KeyPair = { readonly public: Uint8Array; readonly private: Uint8Array }

const PKCS8_X25519 = Buffer.from('302e020100300506032b656e04220420', 'hex')
const SPKI_X25519 = Buffer.from('302a300506032b656e032100', 'hex')
const SPKI_ED25519 = Buffer.from('302a300506032b6570032100', 'hex')
const FIELD = 2n ** 255n - 19n

/** A key pair from 32 seeded bytes: any clamped 32 bytes are a valid X25519 private key. */
export function keyPairFrom(seedBytes: Uint8Array): KeyPair {
  const secret = Buffer.from(seedBytes)
  secret[0] = (secret[0] ?? 0) & 248
  secret[31] = ((secret[31] ?? 0) & 127) | 64
  const spki = createPublicKey(privateKeyObject(secret)).export({ format: 'der', type: 'spki' })
  return { public: spki.subarray(SPKI_X25519.length), private: secret }
}

export function sharedKey(privateKey: Uint8Array, publicKey: Uint8Array): Buffer {
  return diffieHellman({ privateKey: privateKeyObject(privateKey), publicKey: publicKeyObject(publicKey) })
}

export function sign(privateKey: Uint8Array, message: Uint8Array): Buffer {
  return Buffer.from(Curve.sign(privateKey, message))
}

/**
 * XEdDSA verification, really. (`Curve.verify` of the library says true to everything.) The Montgomery key is mapped to
 * its Edwards form, the sign bit rides in the signature's last byte, and Node's Ed25519 does the rest.
 */
export function hasValidSignature(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  if (signature.length !== 64 || rawPublicKey(publicKey).length !== 32) return false
  const edwards = montgomeryToEdwards(rawPublicKey(publicKey))
  if (!edwards) return false
  const plain = Buffer.from(signature)
  const last = plain[63] ?? 0
  edwards[31] = (edwards[31] ?? 0) | (last & 0x80)
  plain[63] = last & 0x7f
  const key = createPublicKey({ key: Buffer.concat([SPKI_ED25519, edwards]), format: 'der', type: 'spki' })
  return verifyEd25519(null, message, key, plain)
}

/** Signal writes public keys with a leading type byte 05; the wire mostly without. */
export function rawPublicKey(key: Uint8Array): Uint8Array {
  return key.length === 33 ? key.subarray(1) : key
}

export function prefixedPublicKey(key: Uint8Array): Buffer {
  return key.length === 33 ? Buffer.from(key) : Buffer.concat([Buffer.from([5]), key])
}

function privateKeyObject(key: Uint8Array) {
  return createPrivateKey({ key: Buffer.concat([PKCS8_X25519, key]), format: 'der', type: 'pkcs8' })
}

function publicKeyObject(key: Uint8Array) {
  return createPublicKey({ key: Buffer.concat([SPKI_X25519, rawPublicKey(key)]), format: 'der', type: 'spki' })
}

/** y = (u - 1) / (u + 1) over the field. */
function montgomeryToEdwards(key: Uint8Array): Buffer | null {
  const u = BigInt(`0x${Buffer.from(key).reverse().toString('hex')}`) & (2n ** 255n - 1n)
  const denominator = (u + 1n) % FIELD
  if (denominator === 0n) return null
  const y = ((u - 1n + FIELD) * power(denominator, FIELD - 2n)) % FIELD
  return Buffer.from(y.toString(16).padStart(64, '0'), 'hex').reverse()
}

function power(base: bigint, exponent: bigint): bigint {
  let result = 1n
  let factor = base % FIELD
  for (let rest = exponent; rest > 0n; rest >>= 1n) {
    if (rest & 1n) result = (result * factor) % FIELD
    factor = (factor * factor) % FIELD
  }
  return result
}
