import { breakIfTold } from '../faults/break-connection.js'
import type { ActiveFault } from '../faults/rules.js'
import { type Arrival, readAtPhone } from '../phone/read-message.js'
import type { Sealed } from '../phone/simulated-device.js'
import type { Simulation } from '../simulation.js'
import type { Connection } from '../wire/connection.js'
import { addressingOf, alongJid, isGroupJid, jidIn, otherAddressing, parseJid, STATUS_JID } from '../wire/jid.js'
import { type BinaryNode, bytesOf, child, children, el } from '../wire/node-codec.js'
import { mayWrite } from '../world/groups.js'
import { isGoodToken } from '../world/privacy-tokens.js'
import type { Companion, Person } from '../world/world.js'
import { deliver, withBadMac } from './deliver.js'

const EARLY_RECEIPT_MS = 100
const NOT_A_MEMBER = 403
const UNACCEPTABLE = 479
const RESTRICTED = 463

/** A companion's message: accept, route, acknowledge; each step can be told to fail. */
export function receiveMessage(sim: Simulation, connection: Connection, node: BinaryNode) {
  const sender = connection.companion
  if (!sender) return
  count(sim, sender, node)
  const receiver = sim.world.findByJidUser(parseJid(node.attrs.to)?.user ?? '')
  const subject = { account: sender.person.phone, contact: receiver?.phone, tag: node.tag, id: node.attrs.id }

  const faults = sim.faults.take('message', subject)
  const nack = faults.find(({ action }) => action === 'nack')
  const garble = faults.find(({ action }) => action === 'garble')
  if (
    breakIfTold(
      sim,
      connection,
      faults.filter((fault) => fault !== nack && fault !== garble),
    )
  )
    return
  if (nack) return acknowledge(sim, connection, node, nack.error ?? UNACCEPTABLE)
  if (node.attrs.category === 'peer' && child(node, 'tctoken')) {
    return acknowledge(sim, connection, node, UNACCEPTABLE)
  }
  if (isTooForward(sim, sender.person, receiver, node)) return acknowledge(sim, connection, node, RESTRICTED)
  if (isShutOut(sim, sender.person, node)) return acknowledge(sim, connection, node, NOT_A_MEMBER)

  route(sim, sender, node, garble !== undefined)
  if (breakIfTold(sim, connection, sim.faults.take('before-ack', subject)) && !connection.isOpen) return
  const acked = () => {
    acknowledge(sim, connection, node)
    breakIfTold(sim, connection, sim.faults.take('after-ack', subject))
  }
  acknowledgeAsTold(sim, sim.faults.take('ack', subject), acked)
}

/** A restricted account may write to those whose token it shows; phones give one to whom they write to. */
function isTooForward(sim: Simulation, author: Person, receiver: Person | undefined, node: BinaryNode): boolean {
  if (!receiver || receiver === author || author.restrictedUntil <= sim.now()) return false
  const shown = child(node, 'tctoken')
  return !(shown && isGoodToken(bytesOf(shown), receiver, author, sim.seconds()))
}

/** A group hears its members only, and when it is for announcements its admins only. */
function isShutOut(sim: Simulation, author: Person, { attrs }: BinaryNode): boolean {
  const group = sim.world.groups.find(attrs.to)
  return isGroupJid(attrs.to) && !(group && mayWrite(group, author))
}

function acknowledgeAsTold(sim: Simulation, faults: ActiveFault[], acked: () => void) {
  if (faults.some(({ action }) => action === 'withhold-ack')) return
  const late = faults.find(({ action }) => action === 'delay-ack' || action === 'early-receipt')
  if (late) return sim.later(late.ms ?? EARLY_RECEIPT_MS, acked)
  acked()
}

function acknowledge(sim: Simulation, connection: Connection, node: BinaryNode, error?: number): void {
  sim.stats.acksSent++
  connection.send(el('ack', { class: 'message', id: node.attrs.id, from: node.attrs.to, t: sim.seconds(), error }))
}

function count(sim: Simulation, sender: Companion, node: BinaryNode): void {
  const id = node.attrs.id ?? ''
  sim.stats.messagesReceived++
  if (sim.authors.has(id)) sim.stats.repeatedMessages++
  else sim.stats.distinctMessages++
  sim.authors.set(id, sender)
}

/** Each ciphertext goes to the device it was made for; a garbled one reaches a phone with a bad MAC. */
function route(sim: Simulation, sender: Companion, node: BinaryNode, isGarbled: boolean): void {
  const routing = { sim, sender, node }
  for (const { target, envelopes } of addressed(routing)) {
    const jid = parseJid(target)
    const receiver = jid && sim.world.findByJidUser(jid.user)
    if (!receiver || (receiver === sender.person && jid.device === sender.device)) continue
    if (jid.device > 0) {
      const companion = receiver.companions.get(jid.device)
      if (companion) deliver(sim, companion, forwarded({ ...routing, receiver, envelopes }))
      continue
    }
    const garbles = isGarbled && receiver !== sender.person
    readAtPhone(sim, receiver, arrivalOf({ ...routing, receiver, envelopes }, garbles))
    // In a group one phone that cannot read is enough: it asks, and the client writes to all of them again.
    if (garbles && broadcastOf(sim, node)) isGarbled = false
  }
}

type Routing = { sim: Simulation; sender: Companion; node: BinaryNode }
type Routed = Routing & { receiver: Person; envelopes: BinaryNode[] }

/** Which envelopes go to which device. In a group all get the one for all, behind the one that brings its key. */
function addressed({ sim, node }: Routing): { target: string; envelopes: BinaryNode[] }[] {
  const single = children(node).filter(({ tag }) => tag === 'enc')
  const own = children(child(node, 'participants'), 'to').map((to) => ({
    target: to.attrs.jid ?? '',
    envelopes: children(to, 'enc'),
  }))
  if (!broadcastOf(sim, node)) return single.length > 0 ? [{ target: node.attrs.to ?? '', envelopes: single }] : own
  if (node.attrs.participant) return [{ target: node.attrs.participant, envelopes: single }]
  const group = sim.world.groups.find(node.attrs.to)
  if (!group) return own.map(({ target, envelopes }) => ({ target, envelopes: [...envelopes, ...single] }))
  const keyOf = new Map(own.map(({ target, envelopes }) => [deviceKey(sim, target), envelopes]))
  const devices = [...group.members.values()].flatMap(({ person }) =>
    [0, ...person.companions.keys()].map((device) => jidIn(group.addressing, person, device)),
  )
  return devices.map((target) => ({
    target,
    envelopes: [...(keyOf.get(deviceKey(sim, target)) ?? []), ...single],
  }))
}

/** The same device, whichever way it is addressed. */
function deviceKey(sim: Simulation, target: string): string {
  const jid = parseJid(target)
  return `${sim.world.findByJidUser(jid?.user ?? '')?.phone}:${jid?.device}`
}

function arrivalOf({ node, sender, envelopes }: Routed, isGarbled: boolean): Arrival {
  const sealed = envelopes.map((enc) => ({ type: sealTypeOf(enc), ciphertext: bytesOf(enc) }))
  const last = sealed.at(-1)
  if (isGarbled && last) sealed[sealed.length - 1] = { ...last, ciphertext: Buffer.from(withBadMac(last.ciphertext)) }
  return {
    id: node.attrs.id ?? '',
    sender,
    chat: node.attrs.recipient ?? node.attrs.to ?? '',
    isPeer: node.attrs.category === 'peer',
    sealed,
  }
}

function sealTypeOf({ attrs }: BinaryNode): Sealed['type'] {
  return attrs.type === 'pkmsg' || attrs.type === 'skmsg' ? attrs.type : 'msg'
}

function forwarded(on: Routed): BinaryNode {
  const { sim, sender, node, envelopes } = on
  const { id, type, category, edit } = node.attrs
  const attrs = { ...senderAttrs(on), id, type, t: sim.seconds(), notify: sender.person.name, category, edit }
  const extras = children(node).filter(({ tag }) => tag === 'device-identity' || tag === 'meta')
  return el('message', attrs, [...envelopes, ...extras])
}

function senderAttrs({ sim, sender, node, receiver }: Routed) {
  const { person, device } = sender
  const addressing = sim.world.groups.find(node.attrs.to)?.addressing ?? addressingOf(node.attrs.to)
  const other = otherAddressing(addressing)
  const from = jidIn(addressing, person, device)
  const mode = addressing === 'lid' ? addressing : undefined
  const broadcast = broadcastOf(sim, node)
  if (broadcast) {
    const isGroup = broadcast !== STATUS_JID
    return {
      from: broadcast,
      participant: from,
      [`participant_${other}`]: alongJid(other, person),
      participant_username: person.habits.username ?? undefined,
      addressing_mode: isGroup ? addressing : mode,
    }
  }
  if (receiver === person) return { from, recipient: node.attrs.recipient ?? node.attrs.to }
  return { from, [`sender_${other}`]: alongJid(other, person), addressing_mode: mode }
}

/** The group or broadcast a message goes to. */
function broadcastOf(sim: Simulation, { attrs }: BinaryNode): string | null {
  return sim.world.groups.find(attrs.to) || attrs.to === STATUS_JID ? (attrs.to ?? null) : null
}
