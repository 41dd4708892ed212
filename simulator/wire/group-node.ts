import type { Group, Member } from '../world/groups.js'
import { jidIn, lidJid, pnJid } from './jid.js'
import { type BinaryNode, el } from './node-codec.js'

/** A group as the server describes it, with all its members. */
export function groupNode(group: Group): BinaryNode {
  const { creator, subjectBy, settings, description } = group
  const attrs = {
    id: group.id,
    subject: group.subject,
    creation: group.createdAt,
    creator: jidIn(group.addressing, creator),
    creator_pn: group.addressing === 'lid' ? pnJid(creator.phone) : undefined,
    s_t: group.subjectAt,
    s_o: jidIn(group.addressing, subjectBy),
    s_o_pn: group.addressing === 'lid' ? pnJid(subjectBy.phone) : undefined,
    size: group.members.size,
    addressing_mode: group.addressing,
  }
  const parts = [...group.members.values()].map((member) => participantNode(group, member))
  if (description) parts.push(descriptionNode(group))
  if (settings.announcement) parts.push(el('announcement'))
  if (settings.locked) parts.push(el('locked'))
  if (settings.ephemeral > 0) parts.push(el('ephemeral', { expiration: settings.ephemeral }))
  if (settings.joinApproval) parts.push(el('membership_approval_mode', {}, [el('group_join', { state: 'on' })]))
  parts.push(el('member_add_mode', {}, Buffer.from(settings.memberAddMode)))
  return el('group', attrs, parts)
}

export function participantNode(
  { addressing }: Group,
  { person, role }: Member,
  more: { error?: number; type?: string } = {},
) {
  const jids =
    addressing === 'lid'
      ? { jid: lidJid(person.lid), phone_number: pnJid(person.phone) }
      : { jid: pnJid(person.phone), lid: lidJid(person.lid) }
  return el('participant', { ...jids, type: role === 'member' ? undefined : role, ...more })
}

export function descriptionNode(group: Group): BinaryNode {
  const { description, addressing } = group
  if (!description) return el('description', { delete: 'true' })
  const { id, author, at, text } = description
  const attrs = {
    id,
    participant: jidIn(addressing, author),
    participant_pn: addressing === 'lid' ? pnJid(author.phone) : undefined,
    t: at,
  }
  return el('description', attrs, [el('body', {}, Buffer.from(text))])
}
