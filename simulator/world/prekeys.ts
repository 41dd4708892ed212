import { type BinaryNode, bigEndian, bytesOf, child, children, el, integerOf } from '../wire/node-codec.js'

export type PreKey = { readonly id: number; readonly publicKey: Buffer }
export type SignedPreKey = PreKey & { readonly signature: Buffer }

/** What somebody needs to write to a device for the first time. */
export type PreKeyBundle = {
  readonly registrationId: number
  readonly identity: Uint8Array
  readonly signedPreKey: SignedPreKey
  readonly preKey: PreKey | null
  readonly deviceIdentity: Buffer | null
}

export const KEY_TYPE = Buffer.from([5])

export function readPreKey(node: BinaryNode): PreKey {
  return { id: integerOf(child(node, 'id')), publicKey: bytesOf(child(node, 'value')) }
}

export function readSignedPreKey(node: BinaryNode): SignedPreKey {
  return { ...readPreKey(node), signature: bytesOf(child(node, 'signature')) }
}

export function preKeyNode(key: PreKey): BinaryNode {
  return el('key', {}, [el('id', {}, bigEndian(key.id, 3)), el('value', {}, key.publicKey)])
}

export function signedPreKeyNode(key: SignedPreKey): BinaryNode {
  return el('skey', {}, [
    el('id', {}, bigEndian(key.id, 3)),
    el('value', {}, key.publicKey),
    el('signature', {}, key.signature),
  ])
}

/** The answer to a key query repeats the jid exactly as it was asked. */
export function bundleNode(jid: string, bundle: PreKeyBundle): BinaryNode {
  const content = [
    el('registration', {}, bigEndian(bundle.registrationId)),
    el('type', {}, KEY_TYPE),
    el('identity', {}, bundle.identity),
    signedPreKeyNode(bundle.signedPreKey),
  ]
  if (bundle.preKey) content.push(preKeyNode(bundle.preKey))
  if (bundle.deviceIdentity) content.push(el('device-identity', {}, bundle.deviceIdentity))
  return el('user', { jid }, content)
}

/** The keys a client sends along with its retry receipt from the second try on. */
export function readRetryBundle(receipt: BinaryNode): PreKeyBundle | null {
  const keys = child(receipt, 'keys')
  const signed = child(keys, 'skey')
  if (!keys || !signed) return null
  const [preKey] = children(keys, 'key')
  return {
    registrationId: integerOf(child(receipt, 'registration')),
    identity: bytesOf(child(keys, 'identity')),
    signedPreKey: readSignedPreKey(signed),
    preKey: preKey ? readPreKey(preKey) : null,
    deviceIdentity: null,
  }
}
