import { giveGathered } from '../phone/read-message.js'
import { changeDescription, changeMembers, changeSubject, createGroup } from '../router/change-group.js'
import type { Simulation } from '../simulation.js'
import { groupJid } from '../wire/jid.js'
import type { Group } from '../world/groups.js'
import { findAccount } from './account-routes.js'
import { phonesFrom, textsFrom } from './read-draft.js'
import { BadInput, oneOf, optionalText, phoneFrom, type Route, requiredText } from './route.js'
import { findPerson } from './send-draft.js'

const CHANGES = ['add', 'remove', 'promote', 'demote'] as const

/** Groups as the people on their phones make and change them. */
export function groupRoutes(sim: Simulation): Route[] {
  const find = (id: string | undefined): Group => {
    const group = sim.world.groups.find(id)
    if (!group) throw new BadInput(`there is no group ${id}`, 404)
    return group
  }
  const actorOf = (group: Group, body: Record<string, unknown>) =>
    body.by === undefined ? group.creator : findPerson(sim, body.by, 'by')
  return [
    {
      method: 'POST',
      path: '/admin/groups',
      handle({ json }) {
        const body = json()
        const people = phonesFrom(body.members, 'members').map((phone) => findPerson(sim, phone, 'members'))
        const creator = body.creator === undefined ? people[0] : findPerson(sim, body.creator, 'creator')
        if (!creator) throw new BadInput('a group needs somebody who makes it')
        const group = createGroup(sim, {
          subject: requiredText(body.subject, 'subject'),
          creator,
          people: people.filter((person) => person !== creator),
          addressing: oneOf(body.addressing, 'addressing', ['lid', 'pn'] as const),
          id: optionalText(body.id, 'id'),
        })
        return { body: groupView(group) }
      },
    },
    {
      method: 'GET',
      path: '/admin/groups',
      handle: () => ({ body: { groups: [...sim.world.groups.all.values()].map(groupView) } }),
    },
    { method: 'GET', path: '/admin/groups/:id', handle: ({ params }) => ({ body: groupView(find(params.id)) }) },
    {
      method: 'POST',
      path: '/admin/groups/:id/members',
      handle({ params, json }) {
        const body = json()
        const group = find(params.id)
        const change = oneOf(body.change, 'change', CHANGES)
        if (!change) throw new BadInput(`"change" must be one of ${CHANGES.join(', ')}`)
        const people = phonesFrom(body.phones, 'phones').map((phone) => findPerson(sim, phone, 'phones'))
        const results = changeMembers(sim, { group, actor: actorOf(group, body), people, change })
        return {
          body: {
            ...groupView(group),
            results: results.map(({ person, error }) => ({ phone: person.phone, error })),
          },
        }
      },
    },
    {
      method: 'POST',
      path: '/admin/groups/:id/receipts',
      handle({ params, json }) {
        const body = json()
        const type = oneOf(body.type, 'type', ['delivered', 'read', 'played'] as const)
        if (!type) throw new BadInput('"type" must be one of delivered, read, played')
        const people = phonesFrom(body.phones, 'phones').map((phone) => findPerson(sim, phone, 'phones'))
        const account = findAccount(sim, phoneFrom(body.to, 'to'))
        giveGathered(sim, { group: find(params.id), people, account, ids: textsFrom(body.ids, 'ids'), type })
        return { body: { type } }
      },
    },
    {
      method: 'POST',
      path: '/admin/groups/:id',
      handle({ params, json }) {
        const body = json()
        const group = find(params.id)
        const [subject, description] = [optionalText(body.subject, 'subject'), body.description]
        if (subject) changeSubject(sim, group, actorOf(group, body), subject)
        if (description !== undefined) {
          const text = optionalText(description, 'description') || null
          changeDescription(sim, group, actorOf(group, body), text)
        }
        return { body: groupView(group) }
      },
    },
  ]
}

export function groupView(group: Group) {
  return {
    id: group.id,
    jid: groupJid(group.id),
    subject: group.subject,
    description: group.description?.text ?? null,
    addressing: group.addressing,
    creator: group.creator.phone,
    inviteCode: group.inviteCode,
    settings: { ...group.settings },
    members: [...group.members.values()].map(({ person, role }) => ({ phone: person.phone, lid: person.lid, role })),
  }
}
