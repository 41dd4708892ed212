/**
 * What is learned of a person, in a transaction: identities that are one are joined. The LID is the person: the newest phone
 * seen with it is theirs, and an old one may belong to somebody else now, so it becomes a contact of its own. Only
 * spellings of one number are two phones of one contact. Every function is called under `lockIdentities`, and holds the
 * identities it speaks of, so that nobody makes a contact of them meanwhile.
 */
import { type ContactId, type IdGenerator, publicId, type TenantId } from '../../kernel/ids.js'
import type { Tx } from '../../platform/database/database.js'
import { record } from '../events/record.js'
import { hasUnsettledMessages } from './chat-store.js'
import { findContacts, insertContact } from './contact-store.js'
import { viewContact } from './contact-view.js'
import * as store from './identity-store.js'
import { mergeContactRows } from './merge-store.js'
import { isSameNumber, spellingsOf } from './phone-alias.js'
import type { Identity } from './recipient.js'

export interface Joined {
  /** False when it must wait until messages are settled; the next message of that person asks again. */
  readonly settled: boolean
  /** An identity leads to another contact than before. */
  readonly moved: boolean
}

export const nothingMoved: Joined = { settled: true, moved: false }

export interface IdentityJoiner {
  /** A phone and a LID are one person. */
  joinLid(tx: Tx, tenantId: TenantId, phone: string, lid: string): Promise<Joined>
  /** Two spellings are one number, says WhatsApp. Nothing happens to a number that nobody has written to. */
  joinSpellings(tx: Tx, tenantId: TenantId, asked: string, answered: string): Promise<Joined>
  /** A contact shows this username, or has this business-scoped id. */
  joinName(tx: Tx, tenantId: TenantId, contactId: ContactId, name: Identity): Promise<Joined>
}

export function createIdentityJoiner({ ids }: { readonly ids: IdGenerator }): IdentityJoiner {
  return { joinLid, joinSpellings, joinName }

  async function joinLid(tx: Tx, tenantId: TenantId, phone: string, lid: string): Promise<Joined> {
    const { owner: byPhone } = await holdPhone(tx, tenantId, phone)
    const [byLid] = await store.holdIdentities(tx, tenantId, [lidOf(lid)])
    if (byPhone && byPhone === byLid) {
      await store.assignIdentities(tx, tenantId, byPhone, phonesOf(phone))
      return nothingMoved
    }
    const old = byLid ? await partFromOldPhones(tx, tenantId, byLid, phone) : []
    const joined = await joinContacts(tx, tenantId, { phone, byPhone, lid, byLid })
    if (old.length === 0) return joined
    // Events come after everything that locks lanes, as in every statement that locks both.
    const [person = byLid] = await store.findOwners(tx, tenantId, [lidOf(lid)])
    if (person) await tell(tx, tenantId, person, { reason: 'number_changed', previousPhones: old })
    return { settled: joined.settled, moved: true }
  }

  async function joinContacts(tx: Tx, tenantId: TenantId, pair: Pair): Promise<Joined> {
    const { phone, byPhone, lid, byLid } = pair
    if (byPhone && (await store.hasOtherLid(tx, tenantId, byPhone, lid))) {
      const settled = await handOver(tx, tenantId, { from: byPhone, to: byLid, phone, lid })
      return { settled, moved: settled }
    }
    if (byPhone && byLid) return merge(tx, tenantId, { winner: byPhone, loser: byLid })
    const known = byPhone ?? byLid
    const person = known ?? (await makeContact(tx, tenantId))
    await store.assignIdentities(tx, tenantId, person, [...phonesOf(phone), lidOf(lid)])
    if (known) await tell(tx, tenantId, known, { reason: 'identity_learned', learned: byPhone ? { lid } : { phone } })
    return nothingMoved
  }

  /** Phones that this person had before the new one become a contact of their own. Returns them. */
  async function partFromOldPhones(
    tx: Tx,
    tenantId: TenantId,
    person: ContactId,
    phone: string,
  ): Promise<readonly string[]> {
    const phones = (await store.findPhones(tx, tenantId, person)).filter((row) => !isSameNumber(row, phone))
    const old = phones.map((row) => row.phone)
    if (old.length > 0) await store.movePhones(tx, tenantId, { phones: old, to: await makeContact(tx, tenantId) })
    return old
  }

  /** A number went from one person to another. Its messages on the way are settled first, under the address they had. */
  async function handOver(
    tx: Tx,
    tenantId: TenantId,
    { from, to, phone, lid }: { from: ContactId; to: ContactId | undefined; phone: string; lid: string },
  ): Promise<boolean> {
    if (await hasUnsettledMessages(tx, tenantId, from)) return false
    const phones = (await store.findPhones(tx, tenantId, from)).map((row) => row.phone)
    const owner = to ?? (await makeContact(tx, tenantId))
    await store.movePhones(tx, tenantId, { phones, to: owner })
    await store.assignIdentities(tx, tenantId, owner, [lidOf(lid)])
    await tell(tx, tenantId, from, { reason: 'number_changed', previousPhones: phones })
    await tell(tx, tenantId, owner, { reason: 'identity_learned', learned: { phone } })
    return true
  }

  async function joinSpellings(tx: Tx, tenantId: TenantId, asked: string, answered: string): Promise<Joined> {
    const { owner: contactId } = await holdPhone(tx, tenantId, asked)
    const { owner: other } = await holdPhone(tx, tenantId, answered)
    if (!contactId) return nothingMoved
    if (other && other !== contactId) return merge(tx, tenantId, { winner: contactId, loser: other })
    const learned = await store.assignIdentities(tx, tenantId, contactId, [...phonesOf(asked), ...phonesOf(answered)])
    if (learned.includes(answered)) {
      await tell(tx, tenantId, contactId, { reason: 'identity_learned', learned: { phone: answered } })
    }
    return nothingMoved
  }

  async function joinName(tx: Tx, tenantId: TenantId, contactId: ContactId, name: Identity): Promise<Joined> {
    const [owner] = await store.holdIdentities(tx, tenantId, [name])
    if (owner === contactId) return nothingMoved
    if (name.kind === 'username') await store.moveUsername(tx, tenantId, contactId, name.value)
    else await store.assignIdentities(tx, tenantId, contactId, [name])
    await tell(tx, tenantId, contactId, { reason: 'identity_learned', learned: { [name.kind]: name.value } })
    return { settled: true, moved: owner !== undefined }
  }

  async function merge(
    tx: Tx,
    tenantId: TenantId,
    pair: { readonly winner: ContactId; readonly loser: ContactId },
  ): Promise<Joined> {
    if (await hasUnsettledMessages(tx, tenantId, pair.loser)) return { settled: false, moved: false }
    const [loser] = await findContacts(tx, tenantId, [pair.loser])
    const chats = await mergeContactRows(tx, tenantId, pair)
    const merged = {
      ...(loser && viewContact(loser)),
      chats: chats.map(({ from, into }) => ({ from: publicId('cht', from), into: publicId('cht', into) })),
    }
    await tell(tx, tenantId, pair.winner, { reason: 'merged', merged })
    return { settled: true, moved: true }
  }

  /** Holds all spellings of a phone. The owner of any is the owner of all. */
  async function holdPhone(tx: Tx, tenantId: TenantId, phone: string): Promise<{ owner: ContactId | undefined }> {
    const owners = await store.holdIdentities(tx, tenantId, phonesOf(phone))
    return { owner: owners.find((owner) => owner !== undefined) }
  }

  async function makeContact(tx: Tx, tenantId: TenantId): Promise<ContactId> {
    const contactId = ids.next('con')
    await insertContact(tx, tenantId, contactId)
    return contactId
  }

  async function tell(tx: Tx, tenantId: TenantId, contactId: ContactId, data: object): Promise<void> {
    const event = {
      id: ids.next('evt'),
      tenantId,
      type: 'contact.updated',
      instanceId: null,
      subjectId: contactId,
    } as const
    await record(tx, [{ ...event, data: { ...data } }])
  }
}

interface Pair {
  readonly phone: string
  readonly byPhone: ContactId | undefined
  readonly lid: string
  readonly byLid: ContactId | undefined
}

const lidOf = (lid: string): Identity => ({ kind: 'lid', value: lid })
/** All identities that a phone stands for: its spellings, the given one first. */
export const phonesOf = (phone: string): Identity[] => spellingsOf(phone).map((value) => ({ kind: 'phone', value }))
