/**
 * The credentials of one connection. Memory is the truth: a change takes effect here at once, is appended to the journal in
 * the same synchronous step, and nobody waits. Each appended change holds the value it was made with, so a flush writes the
 * state as of the position up to which it took entries, whatever happened since.
 *
 * A *step* is one operation of the Signal repository: what it changes is seen by itself only, and at its end becomes one
 * journal entry, or nothing at all.
 */
import type {
  AuthenticationCreds,
  SignalDataSet,
  SignalDataTypeMap,
  SignalKeyStore,
  SignalKeyStoreWithTransaction,
} from 'baileys'
import { parseJid, type WhatsAppAddress } from '../jid.js'
import type { CredentialChange, CredentialSnapshot, Journal, JournalEntry } from '../whatsapp.js'
import type { BaileysLibrary } from './load.js'
import { giverOf, TOKEN_KIND } from './privacy-tokens.js'
import { decodeValue, encodeValue } from './value-codec.js'

/** Where the login itself is stored: one row. */
const CREDS = { kind: 'creds', id: '' } as const
/** Which phone is which LID: facts about the world, never part of a step that may be undone. */
const LID_MAPPING = 'lid-mapping'
const REVERSE_SUFFIX = '_reverse'

export interface KeyStoreOptions {
  readonly baileys: BaileysLibrary
  readonly credentials: CredentialSnapshot
  readonly journal: Pick<Journal, 'append'>
  /** A phone and a LID turned out to be one person. */
  readonly onIdentity: (identity: { readonly waId: string; readonly lid: string }) => void
  /** Somebody gave us a privacy token. */
  readonly onToken?: (giver: WhatsAppAddress) => void
}

export interface KeyStore {
  /** Baileys changes this object; `saveCreds` journals it. */
  readonly creds: AuthenticationCreds
  saveCreds(): void
  /** Our own number; empty before pairing. */
  me(): WhatsAppAddress
  /** For Baileys itself: each `set` is an entry of its own. */
  readonly keys: SignalKeyStore
  /** For the Signal repository: while a step is open, `set` belongs to it. */
  readonly stepKeys: SignalKeyStoreWithTransaction
  /** Opens a step. One at a time: whoever calls this has made sure of it. */
  begin(): Step
  lidOf(waId: string): string | undefined
  phoneOf(lid: string): string | undefined
  /** What is stored of a person's privacy token; it may be old. */
  tokenOf(person: WhatsAppAddress): unknown
  /** From now on nothing is journaled: the connection is over, and what is still running in the library is void. */
  seal(): void
}

export interface Step {
  /** Makes the changes true and journals them, with the inbound row they stand for, as one entry. */
  commit(inbound?: JournalEntry['inbound']): void
  /** As if the step had never begun. */
  undo(): void
}

/** The stored login is damaged or of another kind. Holds nothing of it. */
export class UnreadableCredentials extends Error {
  constructor(options: { cause?: unknown } = {}) {
    super('the stored login cannot be read', options)
    this.name = 'UnreadableCredentials'
  }
}

/** Throws UnreadableCredentials. */
export function createKeyStore({ baileys, credentials, journal, onIdentity, onToken }: KeyStoreOptions): KeyStore {
  const memory = createMemory(credentials, decodeWith(baileys))
  const creds = readCreds(baileys, credentials)
  let step: Map<string, Map<string, unknown>> | undefined
  let sealed = false

  function apply(data: SignalDataSet): CredentialChange[] {
    const changes: CredentialChange[] = []
    for (const [kind, entries] of Object.entries(data)) {
      for (const [id, given] of Object.entries(entries ?? {})) {
        const value = given ?? null
        memory.set(kind, id, value)
        changes.push(changeOf(kind, id, value))
        if (kind === LID_MAPPING && typeof value === 'string' && !id.endsWith(REVERSE_SUFFIX)) {
          onIdentity({ waId: id, lid: value })
        }
        const giver = kind === TOKEN_KIND ? giverOf(id, value) : undefined
        if (giver) onToken?.(withPhone(giver))
      }
    }
    return changes
  }

  function append(changes: readonly CredentialChange[], inbound?: JournalEntry['inbound']): void {
    if (changes.length === 0 && !inbound) return
    journal.append(inbound ? { changes, inbound } : { changes })
  }

  function setNow(data: SignalDataSet): void {
    if (!sealed) append(apply(data))
  }

  const keys: SignalKeyStore = {
    get: (kind, ids) => pick(kind, ids, (id) => memory.get(kind, id)),
    set: setNow,
  }

  const stepKeys: SignalKeyStoreWithTransaction = {
    get: async (kind, ids) => pick(kind, ids, (id) => stepValue(kind, id)),
    async set(data) {
      const { [LID_MAPPING]: mapping, ...rest } = data
      if (mapping) setNow({ [LID_MAPPING]: mapping })
      if (!step) return setNow(rest)
      for (const [kind, entries] of Object.entries(rest)) {
        const changed = step.get(kind) ?? new Map<string, unknown>()
        for (const [id, value] of Object.entries(entries ?? {})) changed.set(id, value ?? null)
        step.set(kind, changed)
      }
    },
    // A step is the transaction; see signal-repository.ts.
    transaction: (work) => work(),
    isInTransaction: () => step !== undefined,
  }

  function stepValue(kind: string, id: string): unknown {
    const changed = step?.get(kind)
    return changed?.has(id) ? changed.get(id) : memory.get(kind, id)
  }

  function lidOf(waId: string | undefined): string | undefined {
    return waId === undefined ? undefined : asText(memory.get(LID_MAPPING, waId))
  }

  function phoneOf(lid: string): string | undefined {
    return asText(memory.get(LID_MAPPING, `${lid}${REVERSE_SUFFIX}`))
  }

  function withPhone(person: WhatsAppAddress): WhatsAppAddress {
    const waId = person.lid && phoneOf(person.lid)
    return waId ? { waId, ...person } : person
  }

  return {
    creds,
    keys,
    stepKeys,
    saveCreds() {
      // A copy: Baileys replaces fields of its object, and this entry must not show a later one.
      if (!sealed) append([changeOf(CREDS.kind, CREDS.id, withoutHope({ ...creds }))])
    },
    me() {
      const { waId } = parseJid(creds.me?.id) ?? {}
      const { lid } = parseJid(creds.me?.lid) ?? {}
      return { ...(waId ? { waId } : {}), ...(lid ? { lid } : {}) }
    },
    begin() {
      if (step) throw new Error('a step of the Signal repository inside another one')
      const opened = new Map<string, Map<string, unknown>>()
      step = opened
      return {
        commit(inbound) {
          step = undefined
          if (!sealed) append(apply(toDataSet(opened)), inbound)
        },
        undo() {
          step = undefined
        },
      }
    },
    lidOf,
    phoneOf,
    tokenOf({ waId, lid = lidOf(waId) }) {
      const stored = lid === undefined ? undefined : memory.get(TOKEN_KIND, `${lid}@lid`)
      // Given when the LID of a number was not known yet.
      return stored ?? (waId === undefined ? undefined : memory.get(TOKEN_KIND, `${waId}@s.whatsapp.net`))
    },
    seal() {
      sealed = true
    },
  }
}

function changeOf(kind: string, id: string, value: unknown): CredentialChange {
  return { kind, id, read: () => (value === null ? null : encodeValue(kind, value)) }
}

/** The changes of a step in the shape that Baileys gives them. */
function toDataSet(changed: ReadonlyMap<string, ReadonlyMap<string, unknown>>): SignalDataSet {
  return Object.fromEntries([...changed].map(([kind, entries]) => [kind, Object.fromEntries(entries)])) as SignalDataSet
}

function pick<Kind extends keyof SignalDataTypeMap>(
  _kind: Kind,
  ids: readonly string[],
  read: (id: string) => unknown,
): { [id: string]: SignalDataTypeMap[Kind] } {
  const found: { [id: string]: SignalDataTypeMap[Kind] } = {}
  for (const id of ids) {
    const value = read(id)
    if (value !== undefined && value !== null) found[id] = value as SignalDataTypeMap[Kind]
  }
  return found
}

interface Memory {
  get(kind: string, id: string): unknown
  /** null deletes. */
  set(kind: string, id: string, value: unknown): void
}

/** Stored values are decoded when first asked for: a number has thousands, and a day touches few of them. */
function createMemory(stored: CredentialSnapshot, decode: (kind: string, encoded: Buffer) => unknown): Memory {
  const values = new Map<string, Map<string, unknown>>()
  const replaced = (kind: string): Map<string, unknown> => {
    const known = values.get(kind) ?? new Map<string, unknown>()
    values.set(kind, known)
    return known
  }
  return {
    get(kind, id) {
      const known = values.get(kind)
      if (known?.has(id)) return known.get(id)
      const encoded = stored.get(kind)?.get(id)
      if (!encoded) return undefined
      const value = decode(kind, encoded)
      replaced(kind).set(id, value)
      return value
    },
    set: (kind, id, value) => void replaced(kind).set(id, value),
  }
}

function decodeWith({ proto }: BaileysLibrary): (kind: string, encoded: Buffer) => unknown {
  return (kind, encoded) => {
    const value = decodeValue(kind, encoded)
    // The one kind whose users expect a protobuf message.
    if (kind !== 'app-state-sync-key') return value
    return proto.Message.AppStateSyncKeyData.fromObject(value as Record<string, unknown>)
  }
}

function readCreds({ initAuthCreds, proto }: BaileysLibrary, credentials: CredentialSnapshot): AuthenticationCreds {
  const encoded = credentials.get(CREDS.kind)?.get(CREDS.id)
  if (!encoded) return initAuthCreds()
  try {
    const creds = decodeValue(CREDS.kind, encoded) as AuthenticationCreds
    if (!creds.noiseKey.private.length || !creds.signedIdentityKey.private.length)
      throw new TypeError('keys are missing')
    return creds.account
      ? { ...creds, account: proto.ADVSignedDeviceIdentity.fromObject(creds.account) }
      : withoutHope(creds)
  } catch (cause) {
    throw new UnreadableCredentials({ cause })
  }
}

/**
 * Asking for a pairing code makes Baileys note the number at once. Stored, it would make the next connection log in as a
 * device that nobody has linked, and WhatsApp's refusal (401) looks like a log-out.
 */
function withoutHope({ me, ...creds }: AuthenticationCreds): AuthenticationCreds {
  return me && creds.account ? { ...creds, me } : creds
}

function asText(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined
}
