import { breakIfTold } from '../faults/break-connection.js'
import type { ActiveFault } from '../faults/rules.js'
import type { Simulation } from '../simulation.js'
import type { Connection } from '../wire/connection.js'
import { parseJid, SERVER_JID } from '../wire/jid.js'
import { type BinaryNode, bytesOf, el } from '../wire/node-codec.js'
import { asOffline, type Delivery } from '../world/offline-queue.js'
import type { Companion } from '../world/world.js'
import { handOver } from './hand-over.js'

/** Takes a stanza for a companion; on its way the faults of the wire may meet it. */
export function deliver(sim: Simulation, companion: Companion, node: BinaryNode): Delivery | null {
  return handOver(sim, companion, node, (connection, delivery) => transmit(sim, connection, delivery, node))
}

/** After `passive active`: everything unconfirmed, oldest first, between the preview and the end mark. */
export function deliverQueue(sim: Simulation, connection: Connection): void {
  const { companion } = connection
  if (!companion) return
  const pending = companion.queue.pending()
  const count = (tag: string) => pending.filter(({ node }) => node.tag === tag).length
  const preview = {
    count: pending.length,
    message: count('message'),
    receipt: count('receipt'),
    notification: count('notification'),
    appdata: 0,
  }
  connection.send(el('ib', { from: SERVER_JID }, [el('offline_preview', preview)]))
  connection.session.isActive = true
  for (const delivery of pending) {
    if (!connection.isOpen) return
    transmit(sim, connection, delivery, asOffline(delivery.node))
  }
  connection.send(el('ib', { from: SERVER_JID }, [el('offline', { count: pending.length })]))
}

function transmit(sim: Simulation, connection: Connection, delivery: Delivery, node: BinaryNode) {
  const { companion } = connection
  if (!companion) return
  if (node.tag !== 'message') return connection.send(node)
  const sender = sim.world.findByJidUser(parseJid(node.attrs.from)?.user ?? '')
  const subject = { account: companion.person.phone, contact: sender?.phone, tag: node.tag, id: node.attrs.id }
  const faults = sim.faults.take('delivery', subject)
  const isLost = breakIfTold(sim, connection, faults.filter(isConnectionFault))
  if (isLost && !connection.isOpen) return
  delivery.attempts++
  sim.stats.messagesDelivered++
  if (delivery.attempts > 1) sim.stats.redeliveries++
  connection.send(faults.reduce(spoil, node))
  for (const fault of faults) {
    if (fault.action === 'duplicate') connection.send(node)
    if (fault.action === 'duplicate-reencrypted' && sender) {
      sim.inBackground(sim.reencrypt(sender, companion, node.attrs.id))
    }
  }
  breakIfTold(sim, connection, sim.faults.take('after-delivery', subject))
}

function isConnectionFault({ action }: ActiveFault): boolean {
  return !['bad-mac', 'undecryptable', 'duplicate', 'duplicate-reencrypted', 'hide-number'].includes(action)
}

function spoil(node: BinaryNode, fault: ActiveFault): BinaryNode {
  if (fault.action === 'bad-mac') return withCiphertext(node, withBadMac)
  if (fault.action === 'undecryptable') return withCiphertext(node, (bytes) => bytes.map((byte) => byte ^ 0x5a))
  if (fault.action === 'hide-number') return el(node.tag, withoutNumber(node.attrs), node.content)
  return node
}

function withoutNumber({ sender_pn, participant_pn, ...attrs }: BinaryNode['attrs']) {
  return attrs
}

function withCiphertext(node: BinaryNode, change: (bytes: Uint8Array) => Uint8Array): BinaryNode {
  if (!Array.isArray(node.content)) return node
  const content = node.content.map((part) =>
    part.tag === 'enc' ? el('enc', part.attrs, change(Buffer.from(bytesOf(part)))) : part,
  )
  return el(node.tag, node.attrs, content)
}

/** Nine from the end is inside the MAC, of a msg as of a pkmsg. */
export function withBadMac(ciphertext: Uint8Array): Uint8Array {
  const index = ciphertext.length - 9
  return ciphertext.map((byte, at) => (at === index ? byte ^ 0xff : byte))
}
