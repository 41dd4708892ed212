import type { Simulation } from '../simulation.js'
import { pnJid } from '../wire/jid.js'
import { el } from '../wire/node-codec.js'
import type { Companion, Person } from '../world/world.js'
import { deliver } from './deliver.js'

/** Tells the companions of an account (all but the one that did it) that a collection has a new version. */
export function announceAppState(sim: Simulation, person: Person, name: string, but?: Companion): void {
  const collection = el('collection', { name, version: sim.appStateOf(person).version(name) })
  for (const companion of person.companions.values()) {
    if (companion === but) continue
    const attrs = { id: sim.nextId('sync'), type: 'server_sync', from: pnJid(person.phone), t: sim.seconds() }
    deliver(sim, companion, el('notification', attrs, [collection]))
  }
}
