/**
 * Verifies the signatures of the Signal protocol (XEdDSA over curve25519) with Node's own Ed25519. libsignal's JavaScript
 * takes 11 ms for one, which would block the event loop for each new device that is written to; this takes a fraction of
 * one millisecond. Verification needs no secret, so nothing here has to run in constant time.
 */
import { createPublicKey, verify } from 'node:crypto'

const KEY_LENGTH = 32
const SIGNATURE_LENGTH = 64
const SIGN_BIT = 0x80
/** The prefix libsignal puts before a curve25519 public key. */
const KEY_TYPE = 5
const PRIME = 2n ** 255n - 19n
const ED25519_DER_PREFIX = Buffer.from('302a300506032b6570032100', 'hex')

/** True when `signature` was made for `message` by the owner of the curve25519 key (32 bytes, or 33 with its type byte). */
export function verifySignature(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  const montgomery = withoutType(publicKey)
  if (!montgomery || signature.length !== SIGNATURE_LENGTH) return false
  const edwards = toEdwards(montgomery)
  if (!edwards) return false
  const plain = Buffer.from(signature)
  // XEdDSA hides the sign of the Edwards point in the highest bit of the signature.
  edwards[KEY_LENGTH - 1] = (edwards[KEY_LENGTH - 1] ?? 0) | ((plain[SIGNATURE_LENGTH - 1] ?? 0) & SIGN_BIT)
  plain[SIGNATURE_LENGTH - 1] = (plain[SIGNATURE_LENGTH - 1] ?? 0) & ~SIGN_BIT
  try {
    const key = createPublicKey({ key: Buffer.concat([ED25519_DER_PREFIX, edwards]), format: 'der', type: 'spki' })
    return verify(null, message, key, plain)
  } catch {
    // A key that is no point of the curve: nobody can have signed with it.
    return false
  }
}

function withoutType(publicKey: Uint8Array): Buffer | undefined {
  if (publicKey.length === KEY_LENGTH) return Buffer.from(publicKey)
  if (publicKey.length === KEY_LENGTH + 1 && publicKey[0] === KEY_TYPE) return Buffer.from(publicKey.subarray(1))
  return undefined
}

/** y = (u − 1) / (u + 1): the birational map from curve25519 to Ed25519. */
function toEdwards(montgomery: Buffer): Buffer | undefined {
  const u = (fromLittleEndian(montgomery) & (2n ** 255n - 1n)) % PRIME
  if (u === PRIME - 1n) return undefined
  return toLittleEndian(((u - 1n + PRIME) * inverse(u + 1n)) % PRIME)
}

/** The inverse modulo the prime, by Euclid's algorithm. */
function inverse(value: bigint): bigint {
  let [low, high] = [value % PRIME, PRIME]
  let [lowFactor, highFactor] = [1n, 0n]
  while (low > 1n) {
    const quotient = high / low
    ;[low, high] = [high - quotient * low, low]
    ;[lowFactor, highFactor] = [highFactor - quotient * lowFactor, lowFactor]
  }
  return ((lowFactor % PRIME) + PRIME) % PRIME
}

const fromLittleEndian = (bytes: Buffer): bigint => BigInt(`0x${Buffer.from(bytes).reverse().toString('hex')}`)
const toLittleEndian = (value: bigint): Buffer =>
  Buffer.from(value.toString(16).padStart(KEY_LENGTH * 2, '0'), 'hex').reverse()
