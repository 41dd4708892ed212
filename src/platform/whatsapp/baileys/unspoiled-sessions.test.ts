import type { SignalKeyStoreWithTransaction } from 'baileys'
import { beforeAll, expect, test } from 'vitest'
import { type BaileysLibrary, loadBaileys } from './load.js'
import { silentLogger } from './silent-logger.js'

let baileys: BaileysLibrary
beforeAll(async () => {
  baileys = await loadBaileys()
})

test('a message on an older session does not spoil the newer one on which we write', async () => {
  const alice = person()
  const bob = person()
  await bob.signal.injectE2ESession({ jid: ALICE, session: alice.bundle(1) })
  await alice.read(BOB, await bob.write(ALICE, 'on the first session'))
  await bob.read(ALICE, await alice.write(BOB, 'answer'))
  // Alice begins a second session, as after a retry; Bob, who does not know of it yet, writes on the first.
  await alice.signal.injectE2ESession({ jid: BOB, session: bob.bundle(1) })
  expect(await alice.read(BOB, await bob.write(ALICE, 'still on the first'))).toBe('still on the first')
  expect(await bob.read(ALICE, await alice.write(BOB, 'on the second'))).toBe('on the second')
  expect(await alice.read(BOB, await bob.write(ALICE, 'and back'))).toBe('and back')
})

test('a message that fits no session is refused and changes nothing', async () => {
  const alice = person()
  const bob = person()
  await bob.signal.injectE2ESession({ jid: ALICE, session: alice.bundle(1) })
  await alice.read(BOB, await bob.write(ALICE, 'hello'))
  await bob.read(ALICE, await alice.write(BOB, 'hello back'))
  const sealed = await bob.write(ALICE, 'damaged on the way')
  const damaged = Buffer.from(sealed.ciphertext)
  damaged[damaged.length - 9] = (damaged.at(-9) ?? 0) ^ 1
  await expect(alice.read(BOB, { ...sealed, ciphertext: damaged })).rejects.toThrow()
  expect(await alice.read(BOB, sealed)).toBe('damaged on the way')
})

// Helpers

const ALICE = '111@lid'
const BOB = '222@lid'

interface Sealed {
  readonly type: 'pkmsg' | 'msg'
  readonly ciphertext: Uint8Array
}

/** A device with Signal keys in memory. */
function person() {
  const creds = baileys.initAuthCreds()
  const keys = memoryKeys()
  const signal = baileys.DEFAULT_CONNECTION_CONFIG.makeSignalRepository({ creds, keys }, silentLogger(), async () => [])
  return {
    signal,
    bundle(id: number) {
      const pair = baileys.Curve.generateKeyPair()
      void keys.set({ 'pre-key': { [id]: pair } })
      return {
        registrationId: creds.registrationId,
        identityKey: baileys.generateSignalPubKey(creds.signedIdentityKey.public),
        signedPreKey: {
          keyId: creds.signedPreKey.keyId,
          publicKey: baileys.generateSignalPubKey(creds.signedPreKey.keyPair.public),
          signature: creds.signedPreKey.signature,
        },
        preKey: { keyId: id, publicKey: baileys.generateSignalPubKey(pair.public) },
      }
    },
    write: (jid: string, text: string): Promise<Sealed> => signal.encryptMessage({ jid, data: Buffer.from(text) }),
    read: async (jid: string, sealed: Sealed) =>
      Buffer.from(await signal.decryptMessage({ jid, type: sealed.type, ciphertext: sealed.ciphertext })).toString(),
  }
}

function memoryKeys(): SignalKeyStoreWithTransaction {
  const store = new Map<string, unknown>()
  return {
    get(type, ids) {
      const found: Record<string, never> = {}
      for (const id of ids) {
        const value = store.get(`${type}/${id}`)
        if (value !== undefined && value !== null) found[id] = value as never
      }
      return found
    },
    set(data) {
      for (const [type, entries] of Object.entries(data)) {
        for (const [id, value] of Object.entries(entries ?? {})) store.set(`${type}/${id}`, value)
      }
    },
    isInTransaction: () => false,
    transaction: (work) => work(),
  }
}
