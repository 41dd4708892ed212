import { createHmac } from 'node:crypto'
import { proto } from 'baileys'
import { hasValidSignature, type KeyPair, sign } from '../wire/curve.js'

const ACCOUNT_SIGNATURE = Buffer.from([6, 0])
const DEVICE_SIGNATURE = Buffer.from([6, 1])

/** What the phone gives a new companion: its identity, signed by the account and sealed with the QR's secret. */
export function createDeviceIdentity(options: {
  account: KeyPair
  companionIdentity: Uint8Array
  advSecret: Uint8Array
  keyIndex: number
  rawId: number
  timestamp: number
}): Uint8Array {
  const { account, companionIdentity, keyIndex, rawId, timestamp } = options
  const details = proto.ADVDeviceIdentity.encode({ rawId, timestamp, keyIndex, accountType: 0, deviceType: 0 }).finish()
  const signed = proto.ADVSignedDeviceIdentity.encode({
    details,
    accountSignatureKey: account.public,
    accountSignature: sign(account.private, Buffer.concat([ACCOUNT_SIGNATURE, details, companionIdentity])),
  }).finish()
  const hmac = createHmac('sha256', options.advSecret).update(signed).digest()
  return proto.ADVSignedDeviceIdentityHMAC.encode({ details: signed, hmac }).finish()
}

/** Whether the companion answered with an identity that both the account and the companion have really signed. */
export function isDeviceIdentitySigned(options: {
  accountPublic: Uint8Array
  companionIdentity: Uint8Array
  signedIdentity: Uint8Array
}): boolean {
  const { accountPublic, companionIdentity } = options
  const { details, accountSignature, deviceSignature } = proto.ADVSignedDeviceIdentity.decode(options.signedIdentity)
  if (!details || !accountSignature || !deviceSignature) return false
  const byAccount = Buffer.concat([ACCOUNT_SIGNATURE, details, companionIdentity])
  const byDevice = Buffer.concat([DEVICE_SIGNATURE, details, companionIdentity, accountPublic])
  return (
    hasValidSignature(accountPublic, byAccount, accountSignature) &&
    hasValidSignature(companionIdentity, byDevice, deviceSignature)
  )
}
