import { randomBytes } from 'node:crypto'
import { Curve } from 'baileys'
import { describe, expect, it } from 'vitest'
import { hasValidSignature, keyPairFrom, prefixedPublicKey, sharedKey, sign } from './curve.js'

describe('keys on curve 25519', () => {
  const keys = keyPairFrom(Buffer.alloc(32, 7))

  it('agree with RFC 7748 (section 5.2, first iteration)', () => {
    const nine = Buffer.concat([Buffer.from([9]), Buffer.alloc(31)])
    expect(Buffer.from(keyPairFrom(nine).public).toString('hex')).toBe(
      '422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079',
    )
  })

  it('give both sides the same secret', () => {
    const other = Curve.generateKeyPair()
    expect(sharedKey(keys.private, other.public)).toEqual(Curve.sharedKey(other.private, keys.public))
  })

  it('sign so that only the right key and the right text verify', () => {
    for (let round = 0; round < 5; round++) {
      const message = randomBytes(50)
      const signature = sign(keys.private, message)
      expect(hasValidSignature(keys.public, message, signature)).toBe(true)
      expect(hasValidSignature(prefixedPublicKey(keys.public), message, signature)).toBe(true)
      expect(hasValidSignature(Curve.generateKeyPair().public, message, signature)).toBe(false)
      expect(hasValidSignature(keys.public, randomBytes(50), signature)).toBe(false)
      expect(hasValidSignature(keys.public, message, randomBytes(64))).toBe(false)
    }
  })

  it('verify what the library signs, and refuse what is no signature', () => {
    const pair = Curve.generateKeyPair()
    const message = Buffer.from('signed by the library')
    expect(hasValidSignature(pair.public, message, Curve.sign(pair.private, message))).toBe(true)
    expect(hasValidSignature(pair.public, message, Buffer.alloc(10))).toBe(false)
    expect(hasValidSignature(Buffer.alloc(5), message, Buffer.alloc(64))).toBe(false)
  })
})
