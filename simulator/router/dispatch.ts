import { breakIfTold } from '../faults/break-connection.js'
import { answerIq } from '../iq/answer-iq.js'
import type { Simulation } from '../simulation.js'
import type { Connection } from '../wire/connection.js'
import { parseJid } from '../wire/jid.js'
import type { BinaryNode } from '../wire/node-codec.js'
import { receiveCall } from './calls.js'
import { receiveMessage } from './messages.js'
import { receivePresence, receiveTyping } from './presence.js'
import { receiveAck, receiveReceipt } from './receipts.js'

/** Every stanza of a client comes in here. */
export function dispatch(sim: Simulation, connection: Connection, node: BinaryNode) {
  traceStanza(sim, connection, node, 'in')
  const subject = {
    account: connection.companion?.person.phone,
    contact: sim.world.findByJidUser(parseJid(node.attrs.to)?.user ?? '')?.phone,
    tag: node.tag,
    id: node.attrs.id,
  }
  const faults = sim.faults.take('stanza', subject)
  if (faults.some(({ action }) => action === 'drop')) return
  if (breakIfTold(sim, connection, faults)) return
  switch (node.tag) {
    case 'iq':
      return answerIq(sim, connection, node)
    case 'message':
      return receiveMessage(sim, connection, node)
    case 'receipt':
      return receiveReceipt(sim, connection, node)
    case 'ack':
      return receiveAck(sim, connection, node)
    case 'presence':
      return receivePresence(sim, connection, node)
    case 'chatstate':
      return receiveTyping(sim, connection, node)
    case 'ib':
      return
    case 'call':
      return receiveCall(sim, connection, node)
    default:
      sim.noteUnknown({ xmlns: '', type: node.attrs.type ?? '', child: node.tag })
  }
}

export function traceStanza(sim: Simulation, connection: Connection, node: BinaryNode, direction: 'in' | 'out'): void {
  const account = connection.companion?.person.phone ?? null
  const device = connection.companion?.device ?? null
  sim.trace.record({ at: sim.now(), direction, connection: connection.id, account, device }, node)
}
