/** Two devices that write to each other without any network, for tests of the Signal repository. */
import type { AuthenticationCreds, SignalRepositoryWithLIDStore } from 'baileys'
import { systemClock } from '../../../kernel/clock.js'
import { createKeyStore, type KeyStore } from '../baileys/key-store.js'
import type { BaileysLibrary } from '../baileys/load.js'
import type { Envelope } from '../baileys/raw-entry.js'
import { type Decryption, durableSignalRepository } from '../baileys/signal-repository.js'
import { silentLogger } from '../baileys/silent-logger.js'
import { createTestJournal, type DurableState, type TestJournal } from './journal.js'

export interface TestDevice {
  readonly jid: string
  readonly creds: AuthenticationCreds
  readonly store: KeyStore
  readonly journal: TestJournal
  readonly repository: SignalRepositoryWithLIDStore
  readonly decryptions: Decryption[]
  readonly failures: unknown[]
  /** How often WhatsApp was asked for LIDs. */
  readonly lidQuestions: string[][]
}

export interface TestDeviceOptions {
  readonly jid: string
  /** Where an earlier life of the device had come to. */
  readonly durable?: DurableState
  readonly findRaw?: (encHash: Buffer) => Promise<Buffer | undefined>
  readonly onLookupFailure?: (error: unknown) => void
}

export function createTestDevice(baileys: BaileysLibrary, options: TestDeviceOptions): TestDevice {
  const { jid, durable, findRaw, onLookupFailure = () => {} } = options
  const journal = createTestJournal(durable ? { durable } : {})
  const decryptions: Decryption[] = []
  const failures: unknown[] = []
  const lidQuestions: string[][] = []
  const store = createKeyStore({ baileys, credentials: journal.snapshot(), journal, onIdentity: () => {} })
  if (!durable) store.saveCreds()
  const envelope: Envelope = { attrs: { from: '1@lid', id: 'ID' }, parts: [], me: { lid: jid } }
  const makeRepository = durableSignalRepository({
    baileys,
    store,
    observer: {
      envelopeOf: () => envelope,
      decrypted: (decryption) => decryptions.push(decryption),
      failed: ({ error }) => failures.push(error),
    },
    findRaw: findRaw ?? journal.findRaw,
    onLookupFailure,
    clock: systemClock,
    crashPoint: undefined,
  })
  const ask = async (jids: string[]): Promise<[]> => {
    lidQuestions.push(jids)
    return []
  }
  const repository = makeRepository({ creds: store.creds, keys: store.keys }, silentLogger(), ask)
  return { jid, creds: store.creds, store, journal, repository, decryptions, failures, lidQuestions }
}

/** What the server would hand out of this device, without a one-time prekey. */
export function bundleOf(baileys: BaileysLibrary, creds: AuthenticationCreds) {
  const { signedPreKey, signedIdentityKey, registrationId } = creds
  return {
    registrationId,
    identityKey: baileys.generateSignalPubKey(signedIdentityKey.public),
    signedPreKey: {
      keyId: signedPreKey.keyId,
      publicKey: baileys.generateSignalPubKey(signedPreKey.keyPair.public),
      signature: signedPreKey.signature,
    },
  }
}

/** Opens a session both ways: after it neither side writes prekey messages any more. */
export async function introduce(baileys: BaileysLibrary, from: TestDevice, to: TestDevice): Promise<void> {
  await from.repository.injectE2ESession({ jid: to.jid, session: bundleOf(baileys, to.creds) })
  await deliver(from, to, 'hello')
  await deliver(to, from, 'hello yourself')
}

export async function deliver(from: TestDevice, to: TestDevice, text: string): Promise<Uint8Array> {
  const { type, ciphertext } = await from.repository.encryptMessage({ jid: to.jid, data: Buffer.from(text) })
  return to.repository.decryptMessage({ jid: from.jid, type, ciphertext })
}

interface StoredChain {
  readonly chainType: 1 | 2
  readonly chainKey: { readonly counter: number }
  readonly messageKeys: object
}
interface StoredSession {
  readonly _sessions: Record<string, { readonly _chains: Record<string, StoredChain> }>
}

const SENDING = 1

/** How far the chains of a stored session have come: messages sent or received on each. */
export function countersOf(session: unknown, kind: 'sending' | 'receiving'): number[] {
  const chains = Object.values((session as StoredSession)._sessions).flatMap(({ _chains }) => Object.values(_chains))
  return chains
    .filter(({ chainType }) => (chainType === SENDING) === (kind === 'sending'))
    .map(({ chainKey, messageKeys }) => chainKey.counter + 1 - Object.keys(messageKeys).length)
}
