import { proto } from 'baileys'
import type { Seeded } from '../world/seeded.js'
import { type KeyPair, keyPairFrom, sign } from './curve.js'

/** The trust of the server: root → intermediate → leaf, all really signed, all derived from the seed. */
export type Pki = {
  readonly rootPublicKeyHex: string
  readonly staticKeys: KeyPair
  readonly certificateChain: Uint8Array
  /** The same chain signed by a root nobody trusts: a client that checks must hang up. */
  readonly untrustedChain: Uint8Array
}

const VALID_FROM = 1_700_000_000
const VALID_UNTIL = 4_000_000_000

export function createPki(seeded: Seeded): Pki {
  const root = keyPairFrom(seeded.bytes('pki/root', 32))
  const impostor = keyPairFrom(seeded.bytes('pki/impostor', 32))
  const intermediate = keyPairFrom(seeded.bytes('pki/intermediate', 32))
  const staticKeys = keyPairFrom(seeded.bytes('pki/leaf', 32))
  const chainSignedBy = (signer: KeyPair) =>
    proto.CertChain.encode({
      intermediate: certificate({ serial: 1, issuerSerial: 0, key: intermediate.public, signer }),
      leaf: certificate({ serial: 2, issuerSerial: 1, key: staticKeys.public, signer: intermediate }),
    }).finish()
  return {
    rootPublicKeyHex: Buffer.from(root.public).toString('hex'),
    staticKeys,
    certificateChain: chainSignedBy(root),
    untrustedChain: chainSignedBy(impostor),
  }
}

function certificate(of: { serial: number; issuerSerial: number; key: Uint8Array; signer: KeyPair }) {
  const { serial, issuerSerial, key, signer } = of
  const details = proto.CertChain.NoiseCertificate.Details.encode({
    serial,
    issuerSerial,
    key,
    notBefore: VALID_FROM,
    notAfter: VALID_UNTIL,
  }).finish()
  return { details, signature: sign(signer.private, details) }
}
