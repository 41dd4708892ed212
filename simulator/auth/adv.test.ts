import { configureSuccessfulPairing, initAuthCreds, proto } from 'baileys'
import { describe, expect, it } from 'vitest'
import { hasValidSignature, keyPairFrom } from '../wire/curve.js'
import { bytesOf, child, el } from '../wire/node-codec.js'
import { createDeviceIdentity, isDeviceIdentitySigned } from './adv.js'

const account = keyPairFrom(Buffer.alloc(32, 9))
const FIXED = { rawId: 12345, timestamp: 1_700_000_000, keyIndex: 3 }

function identityFor(companionIdentity: Uint8Array, advSecret: Uint8Array) {
  return createDeviceIdentity({ account, companionIdentity, advSecret, ...FIXED })
}

describe('the identity of a companion', () => {
  it('is fixed by its inputs', () => {
    const companion = keyPairFrom(Buffer.alloc(32, 5))
    const identity = proto.ADVSignedDeviceIdentityHMAC.decode(identityFor(companion.public, Buffer.alloc(32, 6)))
    expect(Buffer.from(identity.hmac ?? []).toString('hex')).toBe(GOLDEN_HMAC)
  })

  it('is signed by the account', () => {
    const companion = keyPairFrom(Buffer.alloc(32, 5))
    const sealed = proto.ADVSignedDeviceIdentityHMAC.decode(identityFor(companion.public, Buffer.alloc(32, 6)))
    const signed = proto.ADVSignedDeviceIdentity.decode(sealed.details ?? new Uint8Array())
    const message = Buffer.concat([Buffer.from([6, 0]), signed.details ?? new Uint8Array(), companion.public])
    expect(hasValidSignature(account.public, message, signed.accountSignature ?? new Uint8Array())).toBe(true)
  })

  it('is accepted by the library, whose answer proves both signatures', () => {
    const creds = initAuthCreds()
    const identity = identityFor(creds.signedIdentityKey.public, Buffer.from(creds.advSecretKey, 'base64'))
    const stanza = el('iq', { id: '1', type: 'set' }, [
      el('pair-success', {}, [
        el('device-identity', {}, identity),
        el('device', { jid: '5511999999999:3@s.whatsapp.net', lid: '123:3@lid' }),
        el('platform', { name: 'android' }),
      ]),
    ])
    const { reply } = configureSuccessfulPairing(stanza, creds)
    const signedIdentity = bytesOf(child(child(reply, 'pair-device-sign'), 'device-identity'))
    const companionIdentity = creds.signedIdentityKey.public
    const accountPublic = account.public
    expect(isDeviceIdentitySigned({ accountPublic, companionIdentity, signedIdentity })).toBe(true)
    const stranger = keyPairFrom(Buffer.alloc(32, 1)).public
    expect(isDeviceIdentitySigned({ accountPublic: stranger, companionIdentity, signedIdentity })).toBe(false)
    expect(isDeviceIdentitySigned({ accountPublic, companionIdentity: stranger, signedIdentity })).toBe(false)
  })
})

const GOLDEN_HMAC = '430ec0c0eb29a61215eb445be1d83cffa37ec6d25c0d717bdf12cdc835241cc2'
