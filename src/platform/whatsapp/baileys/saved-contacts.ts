/** Names that the owner gave to people on the phone: they come with its address book, as changes of the app state. */
import type { Contact } from 'baileys'
import { mergeAddresses, parseJid } from '../jid.js'
import type { ConnectionEvent } from '../whatsapp.js'

type Saved = Pick<Contact, 'id' | 'name' | 'lid' | 'phoneNumber' | 'username'>

/** Contacts as Baileys tells them; without a name of a person it says nothing about the address book. */
export function readSavedContacts(contacts: readonly Saved[]): Extract<ConnectionEvent, { type: 'contact' }>[] {
  return contacts.flatMap(({ id, name, lid, phoneNumber, username }) => {
    const { waId, lid: ownLid } =
      [id, lid, phoneNumber].map(parseJid).reduce((known, address) => mergeAddresses(known ?? {}, address), {}) ?? {}
    // Where nothing was saved, Baileys puts the username in its place.
    if (name === undefined || name === username || (!waId && !ownLid)) return []
    const address = { ...(waId && { waId }), ...(ownLid && { lid: ownLid }) }
    return [{ type: 'contact' as const, address, savedName: name || null }]
  })
}
