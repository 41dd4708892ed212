import type { Simulation } from '../simulation.js'
import type { Group } from '../world/groups.js'
import type { Person } from '../world/world.js'
import { changeMembers, createGroup } from './change-group.js'

const FOUNDER_PREFIX = '55118'

/** The one group every client is in from its first login on, when the simulator was started with one. */
export function joinTestGroup(sim: Simulation, person: Person): void {
  const { testGroup } = sim.options
  if (!testGroup || person.counts.logins > 1) return
  const group = findTestGroup(sim, testGroup) ?? createTestGroup(sim, testGroup)
  if (!group.members.has(person.phone))
    changeMembers(sim, { group, actor: group.creator, people: [person], change: 'add' })
}

function findTestGroup(sim: Simulation, testGroup: string): Group | undefined {
  const { groups } = sim.world
  return groups.find(testGroup) ?? [...groups.all.values()].find(({ subject }) => subject === testGroup)
}

/** Named by its id (with or without `@g.us`) or by its subject. */
function createTestGroup(sim: Simulation, testGroup: string): Group {
  const id = /^(\d[\d-]*)(?:@g\.us)?$/.exec(testGroup)?.[1]
  const [phone = ''] = sim.world.freePhones(1, FOUNDER_PREFIX)
  const creator = sim.world.person(phone)
  return createGroup(sim, { subject: id ? 'Test group' : testGroup, creator, people: [], id })
}
