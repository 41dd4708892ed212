import { proto } from 'baileys'
import { describe, expect, it } from 'vitest'
import { createSeeded } from '../world/seeded.js'
import { hasValidSignature } from './curve.js'
import { createPki } from './pki.js'

const { Details } = proto.CertChain.NoiseCertificate

describe('the certificate chain', () => {
  const pki = createPki(createSeeded(1))
  const isTrusted = (bytes: Uint8Array) => {
    const { intermediate, leaf } = proto.CertChain.decode(bytes)
    const details = Details.decode(intermediate?.details ?? new Uint8Array())
    const byRoot = hasValidSignature(
      Buffer.from(pki.rootPublicKeyHex, 'hex'),
      intermediate?.details ?? new Uint8Array(),
      intermediate?.signature ?? new Uint8Array(),
    )
    const byIntermediate = hasValidSignature(
      details.key ?? new Uint8Array(),
      leaf?.details ?? new Uint8Array(),
      leaf?.signature ?? new Uint8Array(),
    )
    return byRoot && byIntermediate && details.issuerSerial === 0
  }

  it('is truly signed from root to leaf, and the leaf holds the key of the server', () => {
    expect(isTrusted(pki.certificateChain)).toBe(true)
    const leaf = Details.decode(proto.CertChain.decode(pki.certificateChain).leaf?.details ?? new Uint8Array())
    expect(Buffer.from(leaf.key ?? [])).toEqual(Buffer.from(pki.staticKeys.public))
  })

  it('has a false twin that only a client without checks accepts', () => {
    expect(isTrusted(pki.untrustedChain)).toBe(false)
  })

  it('has the root of seed 1 that configs are written with', () => {
    expect(pki.rootPublicKeyHex).toBe('021eed1e9a95e94ad4bb2c5f81beeb1fee98246d622e5329e384fb1dac4ba54b')
  })
})
