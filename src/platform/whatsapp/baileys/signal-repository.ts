/**
 * The Signal repository that Baileys encrypts and decrypts with, made durable before the wire.
 *
 * **One step at a time.** Every operation runs alone for its number, as one step of the key store. Inside a step there is
 * only computing (the keys are in memory), so waiting for one's turn costs no throughput; and it closes a race of the library,
 * which locks by address and so lets the encryption to a phone number and the decryption from its LID change the one
 * session that both use at the same time.
 *
 * **Persist before send.** The keys given to the inner repository know no transactions of Baileys: when `encryptMessage`
 * returns, the ratchet step is in memory and in the journal. Only then can the frame be built, and the gate, asked to send
 * it, finds the entry before it.
 *
 * **Persist before receipt.** The ratchet step of a decryption and the inbound row {hash, stanza, plaintext} are one journal
 * entry. No flush can hold the step without the row:
 * 1. Until its commit, what a step changed is in the step only. Memory and journal do not know it, nor does any value that
 *    another entry could give to a flush.
 * 2. The commit changes memory and appends the entry {changes, row} in one synchronous call; a flush is before or after it.
 * 3. No other operation has read the changed keys before the commit, since operations run one at a time; so no earlier entry
 *    holds a value derived from the step.
 * 4. An entry gives the values it was made with, not newer ones (`CredentialChange.read`), so a flush of earlier entries
 *    cannot write the step either, however late it reads them.
 * 5. Flushes write prefixes of the journal, whole entries, atomically.
 * Baileys builds the receipt after `decryptMessage` returns: after 2, so the gate holds it back until the entry is durable.
 *
 * **Repeats.** When the server gives us a message again that we had received before a crash, the ratchet refuses it ("key
 * used already"), and stock Baileys would lose it. Here its hash is looked up, in memory or in the journal's table, and
 * the stored plaintext is the answer. Nothing is looked up for a message that decrypts.
 */
import { createHash } from 'node:crypto'
import type { SignalAuthState, SignalRepositoryWithLIDStore, SocketConfig } from 'baileys'
import type { Clock } from '../../../kernel/clock.js'
import { createTurns } from '../../../kernel/turns.js'
import type { CrashPoint } from './crash-point.js'
import { forgetExpired } from './expiry.js'
import type { KeyStore } from './key-store.js'
import type { BaileysLibrary } from './load.js'
import { decodeRaw, type Envelope, encodeRaw } from './raw-entry.js'
import { createRecentPlaintexts } from './recent-plaintexts.js'

type MakeRepository = SocketConfig['makeSignalRepository']
/** Asks WhatsApp which LIDs belong to phone numbers. */
type AskForLids = NonNullable<Parameters<MakeRepository>[2]>

/** A number without a LID is not asked about again so soon: else each step for it would wait for the network. */
const LID_MISS_MS = 10_000

/** What the decryptions of a stanza are told to. */
export interface DecryptionObserver {
  /** The stanza that a payload came in; undefined for one that came in none. */
  envelopeOf(ciphertext: Uint8Array): Envelope | undefined
  decrypted(decryption: Decryption): void
  failed(failure: { readonly ciphertext: Uint8Array; readonly error: unknown }): void
}

export interface Decryption {
  readonly ciphertext: Uint8Array
  readonly encHash: Buffer
  readonly plaintext: Uint8Array
  /** Decrypted before on this very connection: whoever had to hear of it has. */
  readonly repeated: boolean
}

export interface RepositoryOptions {
  readonly baileys: BaileysLibrary
  readonly store: KeyStore
  readonly observer: DecryptionObserver
  readonly findRaw: (encHash: Buffer) => Promise<Buffer | undefined>
  /** The journal's table could not be asked: neither a receipt nor a refusal may leave now. */
  readonly onLookupFailure: (error: unknown) => void
  readonly clock: Clock
  readonly crashPoint: CrashPoint | undefined
}

/** For `makeWASocket({ makeSignalRepository })`. */
export function durableSignalRepository(options: RepositoryOptions): MakeRepository {
  const { baileys, store, observer, findRaw, onLookupFailure, clock, crashPoint } = options
  const makeInner = baileys.DEFAULT_CONNECTION_CONFIG.makeSignalRepository

  return (auth: SignalAuthState, logger, askForLids): SignalRepositoryWithLIDStore => {
    const inner = makeInner({ creds: auth.creds, keys: store.stepKeys }, logger, rememberingMisses(askForLids, clock))
    const turns = createTurns()
    const recent = createRecentPlaintexts()
    const underLid = resolveUnderLid(store, inner)

    /** Runs alone; what it changes becomes one entry, or, when it throws, nothing. */
    function step<T>(work: () => Promise<T>): Promise<T> {
      return turns.take(async () => {
        const opened = store.begin()
        try {
          const result = await work()
          opened.commit()
          return result
        } catch (error) {
          opened.undo()
          throw error
        }
      })
    }

    /** A step whose changes and plaintext become one entry. */
    function decryptStep(
      ciphertext: Uint8Array,
      encHash: Buffer,
      work: () => Promise<Uint8Array>,
    ): Promise<Uint8Array> {
      return turns.take(async () => {
        const opened = store.begin()
        try {
          const plaintext = await work()
          const envelope = observer.envelopeOf(ciphertext)
          crashPoint?.('before-inbound-store')
          opened.commit(envelope && { encHash, payload: encodeRaw({ envelope, plaintext }) })
          return plaintext
        } catch (error) {
          opened.undo()
          throw error
        }
      })
    }

    async function decrypt(ciphertext: Uint8Array, work: () => Promise<Uint8Array>): Promise<Uint8Array> {
      const encHash = createHash('sha256').update(ciphertext).digest()
      const seen = recent.get(encHash)
      const plaintext = seen ?? (await decryptOrRecall(ciphertext, encHash, work))
      recent.add(encHash, plaintext)
      observer.decrypted({ ciphertext, encHash, plaintext, repeated: seen !== undefined })
      return plaintext
    }

    async function decryptOrRecall(
      ciphertext: Uint8Array,
      encHash: Buffer,
      work: () => Promise<Uint8Array>,
    ): Promise<Uint8Array> {
      try {
        return await decryptStep(ciphertext, encHash, work)
      } catch (error) {
        const plaintext = await recall(encHash)
        if (plaintext) return plaintext
        observer.failed({ ciphertext, error })
        throw error
      }
    }

    async function recall(encHash: Buffer): Promise<Uint8Array | undefined> {
      try {
        const payload = await findRaw(encHash)
        return payload && decodeRaw(payload).plaintext
      } catch (error) {
        onLookupFailure(error)
        return undefined
      }
    }

    return {
      ...inner,
      decryptMessage: async ({ jid, type, ciphertext }) => {
        const address = await underLid(jid)
        return decrypt(ciphertext, () => inner.decryptMessage({ jid: address, type, ciphertext }))
      },
      decryptGroupMessage: (opts) => decrypt(opts.msg, () => inner.decryptGroupMessage(opts)),
      encryptMessage: async ({ jid, data }) => {
        const address = await underLid(jid)
        return step(() => inner.encryptMessage({ jid: address, data }))
      },
      encryptGroupMessage: (opts) => step(() => inner.encryptGroupMessage(opts)),
      getSenderKeyDistributionMessage: (opts) => step(() => inner.getSenderKeyDistributionMessage(opts)),
      processSenderKeyDistributionMessage: (opts) => step(() => inner.processSenderKeyDistributionMessage(opts)),
      injectE2ESession: async ({ jid, session }) => {
        const address = await underLid(jid)
        return step(() => inner.injectE2ESession({ jid: address, session }))
      },
      validateSession: async (jid) => {
        const address = await underLid(jid)
        return step(() => inner.validateSession(address))
      },
      getSessionInfo: async (jid) => {
        const address = await underLid(jid)
        return step(() => inner.getSessionInfo(address))
      },
      hasSenderKey: (opts) => step(() => inner.hasSenderKey(opts)),
      deleteSession: (jids) => step(() => inner.deleteSession(jids)),
      migrateSession: (fromJid, toJid) => step(() => inner.migrateSession(fromJid, toJid)),
    }
  }
}

/**
 * Sessions live under LIDs. The inner repository would look a LID up inside its operation, by asking WhatsApp when it is
 * unknown; here that is done before the step, so that nothing waits for the network while it has its turn.
 */
function resolveUnderLid(store: KeyStore, { lidMapping }: SignalRepositoryWithLIDStore) {
  return async (jid: string): Promise<string> => {
    const [, waId, device = '', server] = /^(\d+)(:\d+)?@(.+)$/.exec(jid) ?? []
    if (!waId || server === 'lid' || server === 'hosted.lid') return jid
    const lid = server === 's.whatsapp.net' ? store.lidOf(waId) : undefined
    if (lid) return `${lid}${device}@lid`
    return (await lidMapping.getLIDForPN(jid)) ?? jid
  }
}

function rememberingMisses(ask: AskForLids | undefined, clock: Clock): AskForLids {
  const missing = new Map<string, number>()
  return async (jids) => {
    const now = clock.mono()
    forgetExpired(missing, now)
    const unknown = jids.filter((jid) => !missing.has(jid))
    if (!ask || unknown.length === 0) return []
    const found = (await ask(unknown)) ?? []
    const known = new Set(found.map(({ pn }) => pn))
    for (const jid of unknown) if (!known.has(jid)) missing.set(jid, clock.mono() + LID_MISS_MS)
    return found
  }
}
