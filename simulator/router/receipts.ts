import { answerMediaRetry } from '../phone/answer-media-retry.js'
import { answerRetry } from '../phone/write-message.js'
import type { Simulation } from '../simulation.js'
import type { Connection } from '../wire/connection.js'
import { addressingOf, isGroupJid, jidIn, parseJid, STATUS_JID } from '../wire/jid.js'
import { type BinaryNode, child, children, el } from '../wire/node-codec.js'
import { readRetryBundle } from '../world/prekeys.js'
import type { Companion, Person } from '../world/world.js'
import { deliver } from './deliver.js'

const FORWARDED: readonly (string | undefined)[] = [undefined, 'read', 'played']

/** A companion's receipt: acknowledge it, settle its queue, tell the author. */
export function receiveReceipt(sim: Simulation, connection: Connection, node: BinaryNode): void {
  const { companion } = connection
  if (!companion) return
  const { id, to, type, participant } = node.attrs
  connection.send(el('ack', { class: 'receipt', id, from: to, type, participant }))
  const ids = [id ?? '', ...children(child(node, 'list'), 'item').map((item) => item.attrs.id ?? '')]
  const author = sim.world.findByJidUser(parseJid(isBroadcast(to) ? participant : to)?.user ?? '')
  if (type === 'server-error') {
    answerMediaRetry(sim, companion, node)
    return
  }
  if (type === 'retry') {
    if (author) answerRetry(sim, { author, companion, id: id ?? '', bundle: readRetryBundle(node) })
    forward(sim, companion, node, id ?? '')
    return
  }
  for (const each of ids) {
    companion.queue.confirmMessage(each, sim.now())
    if (author) noteReceipt({ author, companion, id: each, type, at: sim.now() })
    if (FORWARDED.includes(type)) forward(sim, companion, node, each)
  }
}

/** To the companion of another account that wrote the message, from the device that has it now. */
function forward(sim: Simulation, reader: Companion, node: BinaryNode, id: string): void {
  const author = sim.authors.get(id)
  if (!author || author.person === reader.person) return
  const { to, type } = node.attrs
  const group = sim.world.groups.find(to)
  const addressing = group?.addressing ?? addressingOf(to)
  const self = jidIn(addressing, reader.person, reader.device)
  const from = isBroadcast(to) ? { from: to, participant: self } : { from: self }
  const content = type === 'retry' ? children(node) : undefined
  deliver(sim, author, el('receipt', { ...from, id, t: sim.seconds(), type }, content))
}

function isBroadcast(jid: string | undefined): boolean {
  return isGroupJid(jid) || jid === STATUS_JID
}

/** `ack` of a receipt or notification, or the refusal (`error`) of a message: that one stanza is done. */
export function receiveAck(sim: Simulation, connection: Connection, node: BinaryNode): void {
  const { class: tag, id, error } = node.attrs
  connection.companion?.queue.confirmOldest(tag ?? '', id ?? '', sim.now(), error ?? null)
}

type Noted = { author: Person; companion: Companion; id: string; type: string | undefined; at: number }

function noteReceipt({ author, companion, id, type, at }: Noted): void {
  const copy = author.handset?.sent.get(id)?.copies.get(companion)
  if (!copy) return
  copy.receipts++
  copy.deliveredAt ??= at
  if (type === 'read' || type === 'played') copy.readAt ??= at
}
