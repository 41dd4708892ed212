import type { Simulation } from '../simulation.js'
import { descriptionNode, groupNode, participantNode } from '../wire/group-node.js'
import { groupJid, jidIn, pnJid } from '../wire/jid.js'
import { type BinaryNode, el } from '../wire/node-codec.js'
import { changeMember, type Group, type Member, type MemberChange, type NewGroup } from '../world/groups.js'
import type { Person } from '../world/world.js'
import { deliver } from './deliver.js'

/** Makes a group and tells every member's companions, those of the creator too. */
export function createGroup(sim: Simulation, wanted: Omit<NewGroup, 'at'>): Group {
  const group = sim.world.groups.create({ ...wanted, at: sim.seconds() })
  tell(sim, { group, actor: group.creator, to: peopleOf(group), child: el('create', {}, [groupNode(group)]) })
  return group
}

export type Changed = { readonly person: Person; readonly error: number | null; readonly member: Member }

/** Adds, removes, promotes or demotes, each for itself; who is new is told of the whole group, the others of the change. */
export function changeMembers(
  sim: Simulation,
  change: { group: Group; actor: Person; people: readonly Person[]; change: MemberChange },
): Changed[] {
  const { group, actor, people } = change
  const before = peopleOf(group)
  const results = people.map((person): Changed => {
    const member = group.members.get(person.phone) ?? { person, role: 'member' }
    const error = changeMember(group, person, change.change)
    return { person, error, member: group.members.get(person.phone) ?? member }
  })
  const changed = results.filter(({ error }) => error === null)
  if (changed.length === 0) return results
  const participants = changed.map(({ member }) => participantNode(group, member))
  tell(sim, { group, actor, to: before, child: el(change.change, {}, participants) })
  if (change.change === 'add') {
    const newcomers = changed.map(({ person }) => person)
    tell(sim, { group, actor, to: newcomers, child: el('create', {}, [groupNode(group)]) })
  }
  return results
}

export function changeSubject(sim: Simulation, group: Group, actor: Person, subject: string): void {
  group.subject = subject
  group.subjectBy = actor
  group.subjectAt = sim.seconds()
  const attrs = { subject, s_t: group.subjectAt, s_o: jidIn(group.addressing, actor) }
  tell(sim, { group, actor, to: peopleOf(group), child: el('subject', attrs) })
}

/** Without text the description is removed. */
export function changeDescription(
  sim: Simulation,
  group: Group,
  actor: Person,
  text: string | null,
  id?: string,
): void {
  group.description =
    text === null ? null : { id: id ?? sim.nextId('description'), text, author: actor, at: sim.seconds() }
  tell(sim, { group, actor, to: peopleOf(group), child: descriptionNode(group) })
}

/** The setting is already changed; the node says how. */
export function announceSetting(sim: Simulation, group: Group, actor: Person, child: BinaryNode): void {
  tell(sim, { group, actor, to: peopleOf(group), child })
}

function peopleOf(group: Group): Person[] {
  return [...group.members.values()].map(({ person }) => person)
}

type Told = { group: Group; actor: Person; to: readonly Person[]; child: BinaryNode }

function tell(sim: Simulation, { group, actor, to, child }: Told): void {
  const attrs = {
    from: groupJid(group.id),
    type: 'w:gp2',
    id: sim.nextId('group'),
    t: sim.seconds(),
    participant: jidIn(group.addressing, actor),
    participant_pn: group.addressing === 'lid' ? pnJid(actor.phone) : undefined,
    addressing_mode: group.addressing,
    notify: actor.name,
  }
  for (const person of to) {
    for (const companion of person.companions.values()) deliver(sim, companion, el('notification', attrs, [child]))
  }
}
