import {
  announceSetting,
  changeDescription,
  changeMembers,
  changeSubject,
  createGroup,
} from '../router/change-group.js'
import { groupNode, participantNode } from '../wire/group-node.js'
import { groupJid, parseJid } from '../wire/jid.js'
import { type BinaryNode, child, children, el, textOf } from '../wire/node-codec.js'
import { type Group, isAdmin, type MemberChange } from '../world/groups.js'
import type { Person } from '../world/world.js'
import type { IqAnswer, IqQuestion } from './answer-iq.js'

const FORBIDDEN = { error: 403, text: 'forbidden' }
const NOT_FOUND = { error: 404, text: 'item-not-found' }
const NOT_ALLOWED = { error: 401, text: 'not-authorized' }
const MEMBER_CHANGES: readonly string[] = ['add', 'remove', 'promote', 'demote']

/** `w:g2`: everything about groups. What belongs to one group is for its members, what changes it for its admins. */
export function answerGroups(question: IqQuestion): IqAnswer {
  const { sim, companion, node, type, asked } = question
  const tag = asked?.tag ?? ''
  if (tag === 'participating') return { content: [participating(question)] }
  if (tag === 'create') return { content: [create(question)] }
  if (tag === 'leave') return leave(question)
  if (tag === 'invite' && asked?.attrs.code) return answerInvite(question, asked.attrs.code)

  const group = sim.world.groups.find(node.attrs.to)
  if (!group) return NOT_FOUND
  const { person } = companion
  if (!group.members.has(person.phone)) return FORBIDDEN
  if (type === 'get') return answerAbout(group, person, tag)
  if (MEMBER_CHANGES.includes(tag)) return answerMembers(question, group, tag as MemberChange)
  return change(question, group)
}

function participating({ sim, companion }: IqQuestion): BinaryNode {
  return el('groups', {}, sim.world.groups.of(companion.person).map(groupNode))
}

/** New groups address by lid, as WhatsApp's do; older ones, by number, are made by the admin. */
function create({ sim, companion, asked }: IqQuestion): BinaryNode {
  const invited = children(asked, 'participant').map(({ attrs }) => attrs.jid ?? '')
  const people = invited.flatMap((jid) => sim.world.findByJidUser(parseJid(jid)?.user ?? '') ?? [])
  return groupNode(createGroup(sim, { subject: asked?.attrs.subject ?? '', creator: companion.person, people }))
}

function leave({ sim, companion, asked }: IqQuestion): IqAnswer {
  const left = children(asked, 'group').map(({ attrs }) => {
    const group = sim.world.groups.find(attrs.id)
    const { person } = companion
    const isMember = group?.members.has(person.phone)
    if (group && isMember) changeMembers(sim, { group, actor: person, people: [person], change: 'remove' })
    return el('group', { id: attrs.id, error: isMember ? undefined : NOT_FOUND.error })
  })
  return { content: [el('leave', {}, left)] }
}

/** A code that somebody passed on: look at the group, or join it. */
function answerInvite({ sim, companion, type }: IqQuestion, code: string): IqAnswer {
  const group = sim.world.groups.findByInvite(code)
  if (!group) return { error: 406, text: 'not-acceptable' }
  if (type === 'get') return { content: [groupNode(group)] }
  const { person } = companion
  if (group.members.has(person.phone)) return { error: 409, text: 'conflict' }
  changeMembers(sim, { group, actor: person, people: [person], change: 'add' })
  return { content: [el('group', { jid: groupJid(group.id) })] }
}

function answerAbout(group: Group, person: Person, tag: string): IqAnswer {
  if (tag === 'query') return { content: [groupNode(group)] }
  if (tag === 'membership_approval_requests') return { content: [el(tag, {}, [])] }
  if (tag !== 'invite') return { error: 400, text: 'bad-request' }
  return isAdmin(group, person) ? { content: [el('invite', { code: group.inviteCode })] } : NOT_ALLOWED
}

function answerMembers({ sim, companion, asked }: IqQuestion, group: Group, change: MemberChange): IqAnswer {
  const actor = companion.person
  const everybodyAdds = change === 'add' && group.settings.memberAddMode === 'all_member_add'
  if (!isAdmin(group, actor) && !everybodyAdds) return FORBIDDEN
  const asks = children(asked, 'participant').map(({ attrs }) => ({
    jid: attrs.jid ?? '',
    person: sim.world.findByJidUser(parseJid(attrs.jid)?.user ?? ''),
  }))
  const people = asks.flatMap(({ person }) => person ?? [])
  const results = changeMembers(sim, { group, actor, people, change })
  const answers = asks.map(({ jid, person }) => {
    const result = results.find((one) => one.person === person)
    if (!result) return el('participant', { jid, error: NOT_FOUND.error })
    return participantNode(group, result.member, result.error === null ? {} : { error: result.error })
  })
  return { content: [el(change, {}, answers)] }
}

function change({ sim, companion, asked }: IqQuestion, group: Group): IqAnswer {
  const actor = companion.person
  const tag = asked?.tag ?? ''
  const isText = tag === 'subject' || tag === 'description'
  if (!isAdmin(group, actor) && !(isText && !group.settings.locked)) return FORBIDDEN
  switch (tag) {
    case 'subject':
      changeSubject(sim, group, actor, textOf(asked))
      return { content: [] }
    case 'description': {
      if ((asked?.attrs.prev ?? null) !== (group.description?.id ?? null)) return { error: 409, text: 'conflict' }
      const body = child(asked, 'body')
      changeDescription(sim, group, actor, body ? textOf(body) : null, asked?.attrs.id)
      return { content: [] }
    }
    case 'invite': {
      const code = sim.world.groups.newInvite(group)
      announceSetting(sim, group, actor, el('invite', { code }))
      return { content: [el('invite', { code })] }
    }
    default:
      return changeSetting(group, asked) && asked
        ? { content: [], afterwards: () => announceSetting(sim, group, actor, asked) }
        : { error: 400, text: 'bad-request' }
  }
}

/** True when this was a setting, and it is changed. */
function changeSetting({ settings }: Group, asked: BinaryNode | undefined): boolean {
  const tag = asked?.tag ?? ''
  switch (tag) {
    case 'announcement':
    case 'not_announcement':
      settings.announcement = tag === 'announcement'
      return true
    case 'locked':
    case 'unlocked':
      settings.locked = tag === 'locked'
      return true
    case 'ephemeral':
    case 'not_ephemeral':
      settings.ephemeral = tag === 'ephemeral' ? Number(asked?.attrs.expiration) : 0
      return true
    case 'member_add_mode':
      settings.memberAddMode = textOf(asked) === 'all_member_add' ? 'all_member_add' : 'admin_add'
      return true
    case 'membership_approval_mode':
      settings.joinApproval = child(asked, 'group_join')?.attrs.state === 'on'
      return true
    default:
      return false
  }
}
