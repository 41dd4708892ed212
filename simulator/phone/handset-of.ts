import type { Simulation } from '../simulation.js'
import type { Person } from '../world/world.js'
import { createHandset, type Handset } from './handset.js'

/** A person's phone, made when it is first needed. */
export function handsetOf(sim: Simulation, person: Person): Handset {
  person.handset ??= createHandset({ seeded: sim.seeded, phone: person.phone, identity: person.identity })
  return person.handset
}
