import { groupJid, jidIn, STATUS_JID } from '../wire/jid.js'
import type { Group } from '../world/groups.js'
import type { Person } from '../world/world.js'

/** Where a phone writes to. */
export type Chat =
  | { readonly kind: 'direct'; readonly person: Person }
  | { readonly kind: 'group'; readonly group: Group }
  | { readonly kind: 'status'; readonly audience: readonly Person[] }

/** How the admin names a chat: the number of the other one, or the jid of the group or broadcast. */
export function nameOfChat(chat: Chat): string {
  return chat.kind === 'direct' ? chat.person.phone : jidOfChat(chat)
}

/** The chat's jid as this author addresses it. */
export function jidOfChat(chat: Chat, author?: Person): string {
  if (chat.kind === 'group') return groupJid(chat.group.id)
  if (chat.kind === 'status') return STATUS_JID
  return jidIn(author?.habits.addressing ?? 'pn', chat.person)
}

/** Everybody who reads there, the author too. */
export function readersOf(chat: Chat, author: Person): Person[] {
  if (chat.kind === 'group') return [...chat.group.members.values()].map(({ person }) => person)
  const others = chat.kind === 'direct' ? [chat.person] : chat.audience
  return [...new Set([author, ...others])]
}

/** How people are named inside this chat. */
export function addressingIn(chat: Chat, author: Person) {
  return chat.kind === 'group' ? chat.group.addressing : author.habits.addressing
}
