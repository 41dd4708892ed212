import { DEFAULT_CONNECTION_CONFIG, encodeWAMessage, proto, type SignalKeyStoreWithTransaction } from 'baileys'
import { type KeyPair, keyPairFrom, prefixedPublicKey, sign } from '../wire/curve.js'
import type { PreKeyBundle } from '../world/prekeys.js'
import type { Seeded } from '../world/seeded.js'

export type Sealed = { readonly type: 'pkmsg' | 'msg' | 'skmsg'; readonly ciphertext: Uint8Array }

/** Device 0 of a person, with real Signal state. Not safe for concurrent use: its handset runs one thing at a time. */
export type SimulatedDevice = {
  readonly registrationId: number
  /** What the server hands out; each call spends a fresh one-time prekey. */
  bundle(): PreKeyBundle
  hasSession(jid: string): Promise<boolean>
  openSession(jid: string, bundle: PreKeyBundle): Promise<void>
  encrypt(jid: string, message: proto.IMessage): Promise<Sealed>
  decrypt(jid: string, sealed: Sealed): Promise<proto.Message>
  /** Seals with the own sender key of the group (made when new), and gives what others need to open it. */
  encryptForGroup(
    group: string,
    ownJid: string,
    message: proto.IMessage,
  ): Promise<{ sealed: Sealed; distribution: proto.IMessage }>
  /** The own key as it stands now, for somebody who could not read. */
  groupKey(group: string, ownJid: string): Promise<proto.Message.ISenderKeyDistributionMessage>
  /** The next message to the group begins with a new key. */
  forgetGroupKey(group: string, ownJid: string): void
  learnGroupKey(authorJid: string, distribution: proto.Message.ISenderKeyDistributionMessage): Promise<void>
  decryptFromGroup(group: string, authorJid: string, sealed: Sealed): Promise<proto.Message>
}

const SIGNED_PRE_KEY_ID = 1

export function createSimulatedDevice(options: { seeded: Seeded; phone: string; identity: KeyPair }): SimulatedDevice {
  const { seeded, phone, identity } = options
  const store = new Map<string, unknown>()
  const keys = createMemoryKeys(store)
  const registrationId = 1 + seeded.integer(`registration/${phone}`, 16380)
  const signedPair = keyPairFrom(seeded.bytes(`signed-prekey/${phone}`, 32))
  const signature = sign(identity.private, prefixedPublicKey(signedPair.public))
  const creds = {
    signedIdentityKey: identity,
    signedPreKey: { keyPair: signedPair, signature, keyId: SIGNED_PRE_KEY_ID },
    registrationId,
  }
  const signal = DEFAULT_CONNECTION_CONFIG.makeSignalRepository({ creds, keys }, silentLogger(), async () => [])
  let nextPreKeyId = 1

  return {
    registrationId,
    bundle() {
      const id = nextPreKeyId++
      const pair = keyPairFrom(seeded.bytes(`prekey/${phone}/${id}`, 32))
      void keys.set({ 'pre-key': { [id]: pair } })
      return {
        registrationId,
        identity: identity.public,
        signedPreKey: { id: SIGNED_PRE_KEY_ID, publicKey: Buffer.from(signedPair.public), signature },
        preKey: { id, publicKey: Buffer.from(pair.public) },
        deviceIdentity: null,
      }
    },
    hasSession: async (jid) => (await signal.validateSession(jid)).exists,
    openSession: (jid, bundle) => signal.injectE2ESession({ jid, session: toSession(bundle) }),
    encrypt: (jid, message) => signal.encryptMessage({ jid, data: encodeWAMessage(message) }),
    async decrypt(jid, { type, ciphertext }) {
      if (type === 'skmsg') throw new Error('a group message is decrypted with the key of its group')
      const padded = await signal.decryptMessage({ jid, type, ciphertext: Buffer.from(ciphertext) })
      return proto.Message.decode(withoutPadding(padded))
    },
    async encryptForGroup(group, ownJid, message) {
      const data = encodeWAMessage(message)
      const { ciphertext, senderKeyDistributionMessage } = await signal.encryptGroupMessage({
        group,
        meId: ownJid,
        data,
      })
      const distribution = { groupId: group, axolotlSenderKeyDistributionMessage: senderKeyDistributionMessage }
      return { sealed: { type: 'skmsg', ciphertext }, distribution: { senderKeyDistributionMessage: distribution } }
    },
    async groupKey(group, ownJid) {
      const key = await signal.getSenderKeyDistributionMessage({ group, meId: ownJid })
      return { groupId: group, axolotlSenderKeyDistributionMessage: key }
    },
    forgetGroupKey(group, ownJid) {
      const [user = '', device] = signal.jidToSignalProtocolAddress(ownJid).split('.')
      store.delete(`sender-key/${group}::${user}::${device}`)
    },
    learnGroupKey: (authorJid, item) => signal.processSenderKeyDistributionMessage({ authorJid, item }),
    async decryptFromGroup(group, authorJid, { ciphertext }) {
      const padded = await signal.decryptGroupMessage({ group, authorJid, msg: Buffer.from(ciphertext) })
      return proto.Message.decode(withoutPadding(padded))
    },
  }
}

function toSession(bundle: PreKeyBundle) {
  const { signedPreKey, preKey } = bundle
  return {
    registrationId: bundle.registrationId,
    identityKey: prefixedPublicKey(bundle.identity),
    signedPreKey: {
      keyId: signedPreKey.id,
      publicKey: prefixedPublicKey(signedPreKey.publicKey),
      signature: signedPreKey.signature,
    },
    ...(preKey ? { preKey: { keyId: preKey.id, publicKey: prefixedPublicKey(preKey.publicKey) } } : {}),
  }
}

function withoutPadding(padded: Uint8Array): Uint8Array {
  return padded.subarray(0, padded.length - (padded.at(-1) ?? 0))
}

/** The handset serialises its device, so a transaction has nothing left to do. */
function createMemoryKeys(store: Map<string, unknown>): SignalKeyStoreWithTransaction {
  return {
    get(type, ids) {
      const found: Record<string, never> = {}
      for (const id of ids) {
        const value = store.get(`${type}/${id}`)
        if (value !== undefined) found[id] = value as never
      }
      return found
    },
    set(data) {
      for (const [type, entries] of Object.entries(data)) {
        for (const [id, value] of Object.entries(entries)) {
          if (value === null) store.delete(`${type}/${id}`)
          else store.set(`${type}/${id}`, value)
        }
      }
    },
    isInTransaction: () => false,
    transaction: (work) => work(),
  }
}

function silentLogger() {
  const ignore = () => undefined
  const logger = { level: 'silent', trace: ignore, debug: ignore, info: ignore, warn: ignore, error: ignore }
  return { ...logger, child: silentLogger }
}
