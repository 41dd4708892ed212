import { announceDevice } from '../router/announce-device.js'
import type { Simulation } from '../simulation.js'
import type { Connection } from '../wire/connection.js'
import { type BinaryNode, el } from '../wire/node-codec.js'
import type { Companion } from '../world/world.js'
import type { ActiveFault, ConnectionAction, FaultRule } from './rules.js'

/** Lets one of the connection-wide faults happen on this connection. */
export function breakConnection(sim: Simulation, connection: Connection, rule: FaultRule) {
  switch (rule.action as ConnectionAction) {
    case 'kill':
      return connection.destroy()
    case 'silence':
      return connection.mute()
    case 'replaced':
      return endStream(connection, streamError({}, el('conflict', { type: 'replaced' })))
    case 'logged-out':
      return connection.companion ? removeCompanion(sim, connection.companion) : connection.destroy()
    case 'stream-error':
      if (rule.code === 0) return endStream(connection, streamError({}, el('xml-not-well-formed')))
      return endStream(connection, streamError({ code: rule.code ?? 503 }))
    case 'stream-end':
      return endStream(connection, el('xmlstreamend'))
    case 'socket-close':
      return connection.closeSocket(rule.code ?? 1011)
    case 'garbage-frame':
      return connection.sendGarbage(sim.seeded.bytes(`garbage/${connection.id}`, 64))
    case 'invalid-node':
      // Decrypts well, claims a list of five and ends there.
      return connection.sendPlain(Buffer.from([0, 0xf8, 5]))
    case 'unknown-stanza':
      return connection.send(el('unheard-of', { id: sim.nextId('stanza'), from: 's.whatsapp.net' }, [el('odd')]))
  }
}

/** The rules that break the connection here; true when one did. */
export function breakIfTold(sim: Simulation, connection: Connection, faults: ActiveFault[]): boolean {
  for (const fault of faults) breakConnection(sim, connection, fault)
  return faults.length > 0
}

export function endStream(connection: Connection, last: BinaryNode): void {
  connection.send(last)
  connection.close()
}

export function streamError(attrs: { code?: number }, cause?: BinaryNode): BinaryNode {
  return el('stream:error', attrs, cause ? [cause] : undefined)
}

/** The owner removed the device on the phone: it is told so now, and refused at every later login. */
export function removeCompanion(sim: Simulation, companion: Companion): void {
  companion.person.companions.delete(companion.device)
  companion.queue.clear()
  announceDevice(sim, companion, 'remove')
  const { connection } = companion
  if (connection) endStream(connection, streamError({ code: 401 }, el('conflict', { type: 'device_removed' })))
}
