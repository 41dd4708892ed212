/**
 * Finds or makes the person behind a phone, LID, username or business-scoped id and the chat with them, and joins records
 * that turn out to be one person (join-identities.ts). Answers from memory what it has seen. Started, it hears of every
 * identity that moves to another contact, in whatever process, and forgets what it knew of that tenant; a chat that was
 * merged meanwhile is followed by the statements that use it (`chat.merged_into`).
 */
import { AppError } from '../../kernel/errors.js'
import type { ChatId, ContactId, IdGenerator, InstanceId, TenantId } from '../../kernel/ids.js'
import type { Service } from '../../kernel/service.js'
import { createBatcher } from '../../platform/database/batcher.js'
import { type Database, isDatabaseUnavailable, sqlState, type Tx } from '../../platform/database/database.js'
import { phoneFromWaId, type WhatsAppAddress, waIdFromPhone } from '../../platform/whatsapp/jid.js'
import type { NumberCheck } from '../../platform/whatsapp/whatsapp.js'
import { type ChatRow, ensureGroupChat, findOrMakeChats, type PersonRow, type WantedChat } from './chat-store.js'
import { type NameSource, renameContact } from './contact-store.js'
import { findAddress, findOwners, lockIdentities } from './identity-store.js'
import { createIdentityJoiner, type Joined, phonesOf } from './join-identities.js'
import { saveNumberCheck } from './number-check-store.js'
import type { Identity } from './recipient.js'

export interface AddressBook extends Service {
  /**
   * The chat of this instance with that person; made if there is none. Rejects with `unknown_recipient` for a username or
   * business-scoped id of which no phone and no LID is known.
   */
  chatWith(tenantId: TenantId, instanceId: InstanceId, identity: Identity): Promise<ChatRow>
  /** The chat of a group. */
  groupChat(tenantId: TenantId, instanceId: InstanceId, groupJid: string): Promise<ChatId>
  /** The person at an address as WhatsApp gives it, and the chat with them; learns that what it names is one person. */
  chatAt(tenantId: TenantId, instanceId: InstanceId, address: WhatsAppAddress): Promise<ChatRow>
  /**
   * A phone and a LID are one person: adds the missing identity, or merges two contacts and records `contact.updated`. Of
   * whom nothing is known yet it makes a contact, unless `onlyOfKnown`: WhatsApp also tells of ourselves and of strangers.
   */
  learn(tenantId: TenantId, identity: PhoneAndLid): Promise<void>
  /**
   * Keeps what WhatsApp said of a phone: whether it exists, that the number it answers with is the same one, and who that
   * is. A reply from that number then comes from the same contact. Makes no contact.
   */
  learnCheck(tenantId: TenantId, phone: string, check: NumberCheck): Promise<void>
  /** Keeps the name that a person shows. */
  rename(tenantId: TenantId, contactId: ContactId, name: string): Promise<void>
  /** Keeps what the address book of an instance's phone says of a person; makes a contact of who is not known. */
  noteSaved(tenantId: TenantId, address: WhatsAppAddress, name: string | null): Promise<void>
}

interface PhoneAndLid {
  readonly waId: string
  readonly lid: string
  readonly onlyOfKnown?: boolean
}

export interface AddressBookOptions {
  readonly db: Database
  readonly ids: IdGenerator
  /** Chats kept in memory. */
  readonly maxCached?: number
}

/** Chats made by one statement at most. */
const MAX_BATCH = 200
/** Two statements that lock the same rows in another order: one of them is ended, and may try again. */
const DEADLOCK = '40P01'
const MAX_TRIES = 4

export function createAddressBook({ db, ids, maxCached = 50_000 }: AddressBookOptions): AddressBook {
  const { joinLid, joinSpellings, joinName } = createIdentityJoiner({ ids })
  const making = createBatcher<WantedChat, PersonRow>({ flush: makeChats, maxItems: MAX_BATCH, secondAbove: MAX_BATCH })
  const chats = new Map<string, ChatRow>()
  /** Chats being looked up: a burst to a new number asks once. */
  const underWay = new Map<string, Promise<ChatRow>>()
  const learned = new Map<string, true>()
  const names = new Map<string, string>()
  const groups = new Map<string, ChatId>()
  /** Of each tenant, how often it was forgotten. Part of every key: what was asked before is not found after. */
  const generations = new Map<TenantId, number>()
  /** How often all of them were. */
  let era = 0
  let unlisten: (() => Promise<void>) | undefined
  return {
    async start() {
      unlisten ??= await db.listen('mirante_identity', (tenantId) => forget(tenantId as TenantId), forgetAll)
    },
    async stop() {
      await unlisten?.()
      unlisten = undefined
    },
    chatWith,
    groupChat,
    chatAt,
    learn,
    learnCheck,
    rename,
    noteSaved,
  }

  // Chats

  async function chatWith(tenantId: TenantId, instanceId: InstanceId, identity: Identity): Promise<ChatRow> {
    const key = keyOf(tenantId, instanceId, identity.kind, identity.value)
    const known = chats.get(key) ?? underWay.get(key)
    if (known) return known
    const asked = findOrMakeChat(tenantId, instanceId, identity)
    underWay.set(key, asked)
    try {
      const chat = await asked
      remember(chats, key, chat)
      return chat
    } finally {
      underWay.delete(key)
    }
  }

  async function findOrMakeChat(tenantId: TenantId, instanceId: InstanceId, named: Identity): Promise<ChatRow> {
    const identity = isAddress(named) ? named : await findAddress(db, tenantId, named)
    if (!identity)
      throw new AppError('unknown_recipient', { errors: [{ pointer: '/to', detail: 'Nobody is known by it.' }] })
    const { chatId, contactId } = await make(tenantId, instanceId, identity)
    if (!chatId) throw new Error('the chat vanished while it was being made')
    return { chatId, contactId }
  }

  function make(tenantId: TenantId, instanceId: InstanceId | null, identity: Identity): Promise<PersonRow> {
    return making.add({ tenantId, instanceId, identity, newContactId: ids.next('con'), newChatId: ids.next('cht') })
  }

  async function makeChats(wanted: readonly WantedChat[]): Promise<readonly PersonRow[]> {
    try {
      return await untangled(() => findOrMakeChats(db, wanted))
    } catch (error) {
      if (wanted.length === 1 || isDatabaseUnavailable(error)) throw error
      // One bad row must not fail its neighbours: nothing was written, so each tries alone.
      const alone: PersonRow[] = []
      for (const one of wanted) alone.push(...(await untangled(() => findOrMakeChats(db, [one]))))
      return alone
    }
  }

  async function groupChat(tenantId: TenantId, instanceId: InstanceId, groupJid: string): Promise<ChatId> {
    const key = `${tenantId} ${instanceId} ${groupJid}`
    const cached = groups.get(key)
    if (cached) return cached
    const chat = { chatId: ids.next('cht'), instanceId, groupJid }
    const chatId = await db.tx((tx) => ensureGroupChat(tx, tenantId, chat))
    remember(groups, key, chatId)
    return chatId
  }

  async function chatAt(tenantId: TenantId, instanceId: InstanceId, address: WhatsAppAddress): Promise<ChatRow> {
    const { waId, lid, username, bsuid } = address
    if (waId && lid) await learn(tenantId, { waId, lid })
    const identity = addressOf(address)
    if (!identity) throw new TypeError('an address of a person needs a phone or a LID')
    const chat = await chatWith(tenantId, instanceId, identity)
    if (username) await learnName(tenantId, chat.contactId, { kind: 'username', value: username })
    if (bsuid) await learnName(tenantId, chat.contactId, { kind: 'bsuid', value: bsuid })
    return chat
  }

  // Learning

  async function learn(tenantId: TenantId, { waId, lid, onlyOfKnown = false }: PhoneAndLid): Promise<void> {
    const key = keyOf(tenantId, 'one', waId, lid)
    if (learned.has(key)) return
    const phone = phoneFromWaId(waId)
    const [byLid, byPhone, byShortest] = await findOwners(db, tenantId, [
      { kind: 'lid', value: lid },
      ...phonesOf(phone),
    ])
    if (onlyOfKnown && !(byLid ?? byPhone ?? byShortest)) return
    const isKnown = byPhone !== undefined && byPhone === byLid
    const { settled } = isKnown ? { settled: true } : await join(tenantId, (tx) => joinLid(tx, tenantId, phone, lid))
    if (settled) remember(learned, keyOf(tenantId, 'one', waId, lid), true as const)
  }

  async function learnName(tenantId: TenantId, contactId: ContactId, name: Identity): Promise<void> {
    const key = keyOf(tenantId, contactId, name.kind, name.value)
    if (learned.has(key)) return
    const [owner] = await findOwners(db, tenantId, [name])
    if (owner !== contactId) await join(tenantId, (tx) => joinName(tx, tenantId, contactId, name))
    remember(learned, keyOf(tenantId, contactId, name.kind, name.value), true as const)
  }

  async function learnCheck(tenantId: TenantId, phone: string, check: NumberCheck): Promise<void> {
    const { exists, waId = null, lid = null, username } = check
    const said = { onWhatsApp: exists, waId, lid }
    const answered = exists && waId && waId !== waIdFromPhone(phone) ? phoneFromWaId(waId) : undefined
    const owner = answered
      ? await learnSpelling(tenantId, phone, answered, said)
      : await saveNumberCheck(db, tenantId, { ...said, phone, final: true })
    if (!exists || !owner) return
    if (lid) await learn(tenantId, { waId: waIdFromPhone(phone), lid })
    if (username) await learnName(tenantId, owner, { kind: 'username', value: username })
  }

  async function learnSpelling(
    tenantId: TenantId,
    phone: string,
    answered: string,
    said: { readonly onWhatsApp: boolean; readonly waId: string | null; readonly lid: string | null },
  ): Promise<ContactId | undefined> {
    let owner: ContactId | undefined
    await join(tenantId, async (tx) => {
      const joined = await joinSpellings(tx, tenantId, phone, answered)
      owner = await saveNumberCheck(tx, tenantId, { ...said, phone, final: joined.settled })
      await saveNumberCheck(tx, tenantId, { ...said, phone: answered, final: joined.settled })
      return joined
    })
    return owner
  }

  async function join(tenantId: TenantId, work: (tx: Tx) => Promise<Joined>): Promise<Joined> {
    const joined = await untangled(() =>
      db.tx(async (tx) => {
        await lockIdentities(tx, tenantId)
        return work(tx)
      }),
    )
    // After the commit: before it, others would read and remember the old state again.
    if (joined.moved) forget(tenantId)
    return joined
  }

  // Names

  async function rename(tenantId: TenantId, contactId: ContactId, name: string): Promise<void> {
    await keepName(tenantId, contactId, 'push', name)
  }

  async function noteSaved(tenantId: TenantId, address: WhatsAppAddress, name: string | null): Promise<void> {
    const identity = addressOf(address)
    if (!identity) return
    const { contactId } = await make(tenantId, null, identity)
    await keepName(tenantId, contactId, 'saved', name)
  }

  async function keepName(tenantId: TenantId, contactId: ContactId, source: NameSource, name: string | null) {
    const key = `${contactId} ${source}`
    if (names.get(key) === (name ?? '')) return
    await renameContact(db, tenantId, contactId, { source, name })
    remember(names, key, name ?? '')
  }

  // Memory

  function keyOf(tenantId: TenantId, ...parts: readonly string[]): string {
    return `${tenantId} ${era}.${generations.get(tenantId) ?? 0} ${parts.join(' ')}`
  }

  function forget(tenantId: TenantId): void {
    generations.set(tenantId, (generations.get(tenantId) ?? 0) + 1)
  }

  function forgetAll(): void {
    era += 1
    chats.clear()
    learned.clear()
    generations.clear()
  }

  /** A bounded cache: the oldest entry makes room. */
  function remember<Key, Value>(cache: Map<Key, Value>, key: Key, value: Value): void {
    if (cache.size >= maxCached) {
      const oldest = cache.keys().next()
      if (!oldest.done) cache.delete(oldest.value)
    }
    cache.set(key, value)
  }
}

const isAddress = ({ kind }: Identity): boolean => kind === 'phone' || kind === 'lid'

function addressOf({ waId, lid }: WhatsAppAddress): Identity | undefined {
  if (waId) return { kind: 'phone', value: phoneFromWaId(waId) }
  return lid ? { kind: 'lid', value: lid } : undefined
}

async function untangled<Result>(work: () => Promise<Result>): Promise<Result> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work()
    } catch (error) {
      if (sqlState(error) !== DEADLOCK || attempt === MAX_TRIES) throw error
    }
  }
}
