import type { Simulation } from '../simulation.js'
import { lidJid, pnJid } from '../wire/jid.js'
import { el } from '../wire/node-codec.js'
import type { Companion } from '../world/world.js'
import { handOver } from './hand-over.js'

/** Tells the other companions of the account about one that came or went, so that they encrypt for it or stop to. */
export function announceDevice(sim: Simulation, companion: Companion, change: 'add' | 'remove'): void {
  const { person, device, keyIndex } = companion
  const jids = [pnJid(person.phone, device), lidJid(person.lid, device)]
  const devices = jids.map((jid) => el('device', { jid, 'key-index': keyIndex }))
  for (const other of person.companions.values()) {
    if (other === companion) continue
    const attrs = { from: pnJid(person.phone), id: sim.nextId('devices'), type: 'devices', t: sim.seconds() }
    handOver(sim, other, el('notification', attrs, [el(change, {}, devices)]))
  }
}
