import { randomBytes } from 'node:crypto'
import type { AuthenticationCreds, SignalRepositoryWithLIDStore } from 'baileys'
import fc from 'fast-check'
import { beforeAll, describe, expect, it } from 'vitest'
import { createTestJournal } from '../testing/journal.js'
import { bundleOf } from '../testing/signal.js'
import { createKeyStore } from './key-store.js'
import { type BaileysLibrary, loadBaileys } from './load.js'
import { quietLibsignal } from './quiet-libsignal.js'
import { silentLogger } from './silent-logger.js'
import { verifySignature } from './xeddsa.js'

let baileys: BaileysLibrary

beforeAll(async () => {
  baileys = await loadBaileys()
})

describe('a signature', () => {
  it('is accepted from its own key, with and without the type byte', () => {
    const { private: secret, public: key } = baileys.Curve.generateKeyPair()
    const message = Buffer.from('signed')
    const signature = baileys.Curve.sign(secret, message)
    expect(baileys.Curve.verify(key, message, signature)).toBe(true)
    expect(baileys.Curve.verify(baileys.generateSignalPubKey(key), message, signature)).toBe(true)
  })

  it('is refused from another key, for another text, and when it is random', () => {
    const { private: secret, public: key } = baileys.Curve.generateKeyPair()
    const message = Buffer.from('signed')
    const signature = baileys.Curve.sign(secret, message)
    expect(baileys.Curve.verify(baileys.Curve.generateKeyPair().public, message, signature)).toBe(false)
    expect(baileys.Curve.verify(key, Buffer.from('Signed'), signature)).toBe(false)
    expect(baileys.Curve.verify(key, message, randomBytes(64))).toBe(false)
  })

  it('of any key and text is accepted, and not with any one bit changed', () => {
    const message = fc.uint8Array({ minLength: 1, maxLength: 200 })
    fc.assert(
      fc.property(message, fc.nat(64 * 8 - 1), (text, bit) => {
        const { private: secret, public: key } = baileys.Curve.generateKeyPair()
        const signature = baileys.Curve.sign(secret, text)
        expect(verifySignature(key, text, signature)).toBe(true)
        const changed = Buffer.from(signature)
        changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7))
        expect(verifySignature(key, text, changed)).toBe(false)
      }),
      { numRuns: 30 },
    )
  })

  it('of odd shape is refused and not thrown about', () => {
    expect(verifySignature(Buffer.alloc(31), Buffer.from('m'), Buffer.alloc(64))).toBe(false)
    expect(verifySignature(Buffer.alloc(33, 7), Buffer.from('m'), Buffer.alloc(64))).toBe(false)
    expect(verifySignature(Buffer.alloc(32), Buffer.from('m'), Buffer.alloc(63))).toBe(false)
    expect(verifySignature(Buffer.alloc(32, 0xff), Buffer.from('m'), Buffer.alloc(64, 0xff))).toBe(false)
  })
})

describe('what Baileys takes on the strength of a signature', () => {
  it('a pairing whose account did not sign it is refused', () => {
    const creds = baileys.initAuthCreds()
    const account = baileys.Curve.generateKeyPair()
    expect(() => baileys.configureSuccessfulPairing(pairSuccess(creds, account.private), creds)).not.toThrow()
    const somebodyElse = baileys.Curve.generateKeyPair()
    expect(() => baileys.configureSuccessfulPairing(pairSuccess(creds, somebodyElse.private, account), creds)).toThrow(
      'Failed to verify account signature',
    )
  })

  it('a prekey bundle with a false signature makes no session', async () => {
    const peer = baileys.initAuthCreds()
    const repository = stockRepository()
    const bundle = bundleOf(baileys, peer)
    const forged = { ...bundle, signedPreKey: { ...bundle.signedPreKey, signature: randomBytes(64) } }
    await expect(repository.injectE2ESession({ jid: '7@lid', session: forged })).rejects.toThrow('invalid signature')
    expect(await repository.validateSession('7@lid')).toMatchObject({ exists: false })
    await repository.injectE2ESession({ jid: '7@lid', session: bundle })
    expect(await repository.validateSession('7@lid')).toMatchObject({ exists: true })
  })
})

describe('the console', () => {
  it('hears nothing of libsignal, and everything of others', async () => {
    const heard: unknown[][] = []
    const { info, warn, error } = console
    for (const method of ['info', 'warn', 'error'] as const) console[method] = (...words) => void heard.push(words)
    try {
      quietLibsignal()
      const repository = stockRepository()
      for (const _ of [1, 2]) {
        await repository.injectE2ESession({ jid: '7@lid', session: bundleOf(baileys, baileys.initAuthCreds()) })
      }
      const ciphertext = Buffer.alloc(80, 0x33)
      await expect(repository.decryptMessage({ jid: '7@lid', type: 'msg', ciphertext })).rejects.toThrow()
      console.info('Closing time')
      console.error('mine', { privKey: 1 })
    } finally {
      Object.assign(console, { info, warn, error })
    }
    expect(heard).toEqual([['Closing time'], ['mine', { privKey: 1 }]])
  })

  it('is judged by the first words of a line', () => {
    const lines: unknown[] = []
    const note = (first: unknown): void => void lines.push(first)
    const target = { info: note, warn: note, error: note }
    quietLibsignal(target)
    target.info('Closing session:')
    target.info('Closing the shop')
    expect(lines).toEqual(['Closing the shop'])
  })

  it('is wrapped once, however often the library is loaded', async () => {
    const wrapped = console.info
    await loadBaileys()
    expect(console.info).toBe(wrapped)
  })
})

/** The library's own repository on our keys: what it accepts is decided by its verification alone. */
function stockRepository(): SignalRepositoryWithLIDStore {
  const journal = createTestJournal()
  const store = createKeyStore({ baileys, credentials: new Map(), journal, onIdentity: () => {} })
  const make = baileys.DEFAULT_CONNECTION_CONFIG.makeSignalRepository
  return make({ creds: store.creds, keys: store.stepKeys }, silentLogger(), async () => [])
}

/** What the server hands over when a phone has scanned the QR. The phone knows the secret of the QR, so the HMAC is right. */
function pairSuccess(creds: AuthenticationCreds, signer: Uint8Array, claimed?: { public: Uint8Array }) {
  const { proto, Curve, hmacSign } = baileys
  const account = claimed ?? keyPairOf(signer)
  const details = proto.ADVDeviceIdentity.encode({ rawId: 1, timestamp: 1, keyIndex: 1, deviceType: 0 }).finish()
  const signed = Buffer.concat([Buffer.of(6, 0), details, creds.signedIdentityKey.public])
  const identity = proto.ADVSignedDeviceIdentity.encode({
    details,
    accountSignatureKey: account.public,
    accountSignature: Curve.sign(signer, signed),
  }).finish()
  const sealed = proto.ADVSignedDeviceIdentityHMAC.encode({
    details: identity,
    hmac: hmacSign(identity, Buffer.from(creds.advSecretKey, 'base64')),
  }).finish()
  const device = { tag: 'device', attrs: { jid: '1:1@s.whatsapp.net', lid: '2:1@lid' } }
  const content = [{ tag: 'device-identity', attrs: {}, content: sealed }, device]
  return { tag: 'iq', attrs: { id: '1' }, content: [{ tag: 'pair-success', attrs: {}, content }] }
}

function keyPairOf(secret: Uint8Array): { public: Uint8Array } {
  // The base point's multiple: agreeing with the base point gives the public key.
  const base = Buffer.concat([Buffer.of(9), Buffer.alloc(31)])
  return { public: baileys.Curve.sharedKey(secret, base) }
}
