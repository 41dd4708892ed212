import { proto } from 'baileys'
import { deliver } from '../router/deliver.js'
import type { Simulation } from '../simulation.js'
import { groupJid, isGroupJid, jidIn, lidJid, pnJid, STATUS_JID, withoutDevice } from '../wire/jid.js'
import { bigEndian, el } from '../wire/node-codec.js'
import type { Group } from '../world/groups.js'
import { KEY_TYPE, preKeyNode, signedPreKeyNode } from '../world/prekeys.js'
import type { Companion, Person } from '../world/world.js'
import type { Handset } from './handset.js'
import { handsetOf } from './handset-of.js'
import type { Inbox } from './inbox.js'
import { show } from './show-on-phone.js'
import type { Sealed } from './simulated-device.js'
import { writeMessage } from './write-message.js'

export type Arrival = {
  readonly id: string
  readonly sender: Companion
  /** The chat as the sender addressed it; receipts come back from there. */
  readonly chat: string
  readonly isPeer: boolean
  /** In their order: the key of a group comes before what it opens. */
  readonly sealed: readonly Sealed[]
}

type Reading = { sim: Simulation; person: Person; handset: Handset; inbox: Inbox; arrival: Arrival }

const MAX_RETRIES = 5

/** A message reaches somebody's phone. It is read in order, after what arrived before it. */
export function readAtPhone(sim: Simulation, person: Person, arrival: Arrival): void {
  const handset = handsetOf(sim, person)
  const inbox = arrival.sender.person === person ? handset.copies : handset.inbox
  sim.inBackground(handset.run(() => read({ sim, person, handset, inbox, arrival })))
}

async function read(reading: Reading): Promise<void> {
  const { sim, person, inbox, arrival } = reading
  const { id, sender, chat } = arrival
  const isOwn = sender.person === person
  const from = sender.person.phone
  const shown = { id, from, group: broadcastOf(chat), at: sim.now(), device: sender.device, address: chat }
  if (hasSeenTheseBytes(reading)) {
    inbox.repeat(from, id)
    return giveReceipts(sim, person, arrival)
  }
  if (!decrypts(sim, isOwn)) {
    inbox.add({ ...shown, content: null })
    return giveReceipts(sim, person, arrival)
  }
  const content = await decryptAll(reading).catch(() => null)
  if (!content) return askAgain(reading)
  const isNew = show(sim, person, inbox, { ...shown, content: content.deviceSentMessage?.message ?? content })
  giveReceipts(sim, person, arrival)
  if (isNew && !isOwn && shown.group === null) reply(sim, person, arrival)
}

/** Notes every envelope in the ledger; true when all of them came before and the message was read then. */
function hasSeenTheseBytes({ handset, inbox, arrival }: Reading): boolean {
  const { id, sender, sealed, chat } = arrival
  const remote = lidJid(sender.person.lid, sender.device)
  const sightings = sealed.map(({ type, ciphertext }) =>
    handset.ledger.note(type === 'skmsg' ? `${chat} ${remote}` : remote, type, ciphertext),
  )
  inbox.counts.reusedCounters += sightings.filter((sighting) => sighting === 'reused-counter').length
  return sightings.every((sighting) => sighting === 'same-bytes') && inbox.has(sender.person.phone, id)
}

async function decryptAll({ handset, arrival }: Reading): Promise<proto.IMessage> {
  const { sender, chat, sealed } = arrival
  const remote = lidJid(sender.person.lid, sender.device)
  const content = proto.Message.create()
  for (const part of sealed) {
    const message =
      part.type === 'skmsg'
        ? await handset.device.decryptFromGroup(chat, remote, part)
        : await handset.device.decrypt(remote, part)
    const key = message.senderKeyDistributionMessage
    if (key) await handset.device.learnGroupKey(remote, key)
    Object.assign(content, message)
  }
  return content
}

function decrypts(sim: Simulation, isOwn: boolean): boolean {
  return sim.options.decrypt === 'all' || (sim.options.decrypt === 'contacts' && !isOwn)
}

function giveReceipts(sim: Simulation, person: Person, arrival: Arrival): void {
  const { sender } = arrival
  const { receipts, readDelayMs } = person.habits
  if (sender.person === person || receipts === 'none') return
  const give = (type?: string) => deliver(sim, sender, receiptNode(sim, person, arrival, type))
  give()
  if (receipts !== 'read') return
  if (readDelayMs > 0) sim.later(readDelayMs, () => give('read'))
  else give('read')
}

export type ReceiptType = 'delivered' | 'read' | 'played'

/** Tells the device that wrote a message what has become of it here; false when the phone has no such message of a client. */
export function giveReceipt(sim: Simulation, person: Person, id: string, type: ReceiptType): boolean {
  const message = person.handset?.inbox.find(id)
  const sender = message && sim.world.find(message.from)?.companions.get(message.device)
  if (!message || !sender) return false
  const wireType = type === 'delivered' ? undefined : type
  deliver(sim, sender, receiptNode(sim, person, { id, chat: message.address }, wireType))
  return true
}

export interface Gathered {
  readonly group: Group
  readonly people: readonly Person[]
  /** Whose messages they are. */
  readonly account: Person
  readonly ids: readonly string[]
  readonly type: ReceiptType
}

/** What many members of a group did meanwhile, in one receipt, to every device of whoever wrote. */
export function giveGathered(sim: Simulation, { group, people, account, ids, type }: Gathered): void {
  const t = sim.seconds()
  const users = people.map((person) => el('user', { jid: jidIn(group.addressing, person), t }))
  const of = ids.map((id) => el('participants', { key: id }, users))
  const attrs = { from: groupJid(group.id), id: ids[0], t, type: type === 'delivered' ? undefined : type }
  for (const companion of account.companions.values()) deliver(sim, companion, el('receipt', attrs, of))
}

function receiptNode(sim: Simulation, person: Person, on: Pick<Arrival, 'id' | 'chat'>, type?: string) {
  return el('receipt', { ...answerAttrs(sim, person, on.chat), id: on.id, t: sim.seconds(), type })
}

/** A receipt comes from the chat; in a group it says whose it is. */
function answerAttrs(sim: Simulation, person: Person, chat: string) {
  const group = sim.world.groups.find(chat)
  if (group) return { from: chat, participant: jidIn(group.addressing, person) }
  if (chat === STATUS_JID) return { from: chat, participant: pnJid(person.phone) }
  return { from: withoutDevice(chat) }
}

function reply(sim: Simulation, person: Person, { sender }: Arrival): void {
  if (person.habits.autoReply === false) return
  const content = { conversation: person.habits.autoReply }
  sim.inBackground(writeMessage(sim, { author: person, chat: { kind: 'direct', person: sender.person }, content }))
}

/** Undecryptable: ask the sender for it again, from the second time on with own keys for a fresh session. */
function askAgain({ sim, person, handset, inbox, arrival }: Reading): void {
  const { id, sender, chat, isPeer } = arrival
  inbox.counts.undecryptable++
  const asked = (handset.retriesAsked.get(id) ?? 0) + 1
  if (isPeer || asked > MAX_RETRIES) return
  handset.retriesAsked.set(id, asked)
  const content = [
    el('retry', { count: asked, id, t: sim.seconds(), v: 1 }),
    el('registration', {}, bigEndian(handset.device.registrationId)),
  ]
  if (asked > 1) content.push(keysNode(handset))
  const isOwnChat = sender.person === person && broadcastOf(chat) === null
  const who = isOwnChat ? { from: pnJid(person.phone), recipient: withoutDevice(chat) } : answerAttrs(sim, person, chat)
  deliver(sim, sender, el('receipt', { ...who, id, t: sim.seconds(), type: 'retry' }, content))
}

function keysNode(handset: Handset) {
  const { identity, signedPreKey, preKey } = handset.device.bundle()
  const keys = [el('type', {}, KEY_TYPE), el('identity', {}, identity), signedPreKeyNode(signedPreKey)]
  if (preKey) keys.push(preKeyNode(preKey))
  return el('keys', {}, keys)
}

function broadcastOf(chat: string): string | null {
  return isGroupJid(chat) || chat === STATUS_JID ? chat : null
}
