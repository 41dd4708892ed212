import { handsetOf } from '../phone/handset-of.js'
import type { Simulation } from '../simulation.js'
import type { Connection } from '../wire/connection.js'
import { groupJid, jidIn, parseJid, pnJid } from '../wire/jid.js'
import { type BinaryNode, children, el } from '../wire/node-codec.js'
import type { Group } from '../world/groups.js'
import type { Person } from '../world/world.js'
import { deliver } from './deliver.js'

export type PresenceState = 'available' | 'unavailable' | 'composing' | 'recording' | 'paused'

export const PRESENCE_STATES: readonly string[] = ['available', 'unavailable', 'composing', 'recording', 'paused']

const MAX_TYPING = 100

/** `available` with a name renames its owner, and is shown to whoever subscribed; `subscribe` is answered with what is known. */
export function receivePresence(sim: Simulation, connection: Connection, node: BinaryNode): void {
  const { companion } = connection
  if (!companion) return
  const { name, type, to } = node.attrs
  if (name) companion.person.name = name
  if (type === 'available' || type === 'unavailable') setAvailable(sim, connection, type === 'available')
  if (type !== 'subscribe') return
  const person = sim.world.findByJidUser(parseJid(to)?.user ?? '')
  if (!person) return
  companion.subscriptions.add(person.phone)
  connection.send(el('presence', { from: to, type: isAvailable(person) ? 'available' : 'unavailable' }))
}

/** The connection of a client says that somebody is there, or ends. */
export function setAvailable(sim: Simulation, { companion, session }: Connection, available: boolean): void {
  if (!companion || session.isAvailable === available) return
  session.isAvailable = available
  const { person } = companion
  if (!available && isAvailable(person)) return
  const readers = new Set([...sim.connections].flatMap((open) => open.companion?.person ?? []))
  for (const reader of readers) showPresence(sim, person, reader, available ? 'available' : 'unavailable')
}

/** A client's owner types: phones note it, companions of other accounts are told. */
export function receiveTyping(sim: Simulation, { companion }: Connection, node: BinaryNode): void {
  const [part] = children(node)
  const author = companion?.person
  const group = sim.world.groups.find(node.attrs.to)
  const other = sim.world.findByJidUser(parseJid(node.attrs.to)?.user ?? '')
  const to = group ?? other
  if (!part || !author || !to || (group && !group.members.has(author.phone))) return
  const state = part.attrs.media === 'audio' ? 'recording' : (part.tag as PresenceState)
  showPresence(sim, author, to, state)
  const readers = group ? [...group.members.values()].map(({ person }) => person) : [to as Person]
  const seen = { from: author.phone, group: group ? groupJid(group.id) : null, state, at: sim.now() }
  for (const reader of readers) {
    if (reader === author) continue
    const { typing } = handsetOf(sim, reader)
    typing.push(seen)
    if (typing.length > MAX_TYPING) typing.shift()
  }
}

function isAvailable(person: Person): boolean {
  return [...person.companions.values()].some(({ connection }) => connection?.session.isAvailable)
}

/** A phone shows its state to the companions that asked for it (typing: to all companions of the account, or a group). */
export function showPresence(sim: Simulation, person: Person, to: Person | Group, state: PresenceState): void {
  if ('members' in to) {
    showTyping(sim, person, to, state)
    return
  }
  const from = pnJid(person.phone)
  for (const companion of to.companions.values()) {
    if (state === 'available' || state === 'unavailable') {
      if (companion.subscriptions.has(person.phone)) deliver(sim, companion, el('presence', { from, type: state }))
      continue
    }
    deliver(sim, companion, el('chatstate', { from }, [typingNode(state)]))
  }
}

function showTyping(sim: Simulation, person: Person, group: Group, state: PresenceState): void {
  if (state === 'available' || state === 'unavailable') return
  const attrs = { from: groupJid(group.id), participant: jidIn(group.addressing, person) }
  for (const { person: member } of group.members.values()) {
    if (member === person) continue
    for (const companion of member.companions.values()) {
      deliver(sim, companion, el('chatstate', attrs, [typingNode(state)]))
    }
  }
}

function typingNode(state: PresenceState): BinaryNode {
  return state === 'recording' ? el('composing', { media: 'audio' }) : el(state)
}
