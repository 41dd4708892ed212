import type { Addressing } from '../wire/jid.js'
import type { Seeded } from './seeded.js'
import type { Person } from './world.js'

export type Role = 'member' | 'admin' | 'superadmin'
export type Member = { readonly person: Person; role: Role }

export type GroupSettings = {
  announcement: boolean
  locked: boolean
  /** Seconds; 0 is off. */
  ephemeral: number
  memberAddMode: 'admin_add' | 'all_member_add'
  joinApproval: boolean
}

export type Description = {
  readonly id: string
  readonly text: string
  readonly author: Person
  readonly at: number
}

export type Group = {
  /** Without its server part. */
  readonly id: string
  readonly addressing: Addressing
  readonly creator: Person
  /** Seconds since the epoch, as all times of a group. */
  readonly createdAt: number
  subject: string
  subjectBy: Person
  subjectAt: number
  description: Description | null
  inviteCode: string
  readonly settings: GroupSettings
  readonly members: Map<string, Member>
  /** Grows when somebody leaves: who stays must not write with a key the one who left has. */
  departures: number
}

export type NewGroup = {
  readonly subject: string
  readonly creator: Person
  readonly people: readonly Person[]
  readonly addressing?: Addressing | undefined
  readonly id?: string | undefined
  readonly at: number
}

export type Groups = {
  readonly all: ReadonlyMap<string, Group>
  create(wanted: NewGroup): Group
  /** With or without its server part. */
  find(id: string | undefined): Group | undefined
  findByInvite(code: string | undefined): Group | undefined
  of(person: Person): Group[]
  newInvite(group: Group): string
  clear(): void
}

export type MemberChange = 'add' | 'remove' | 'promote' | 'demote'

const NO_ERROR = null
const NOT_FOUND = 404
const REFUSED = 403
const CONFLICT = 409

export function createGroups(seeded: Seeded): Groups {
  const all = new Map<string, Group>()
  let drawnIds = 0
  let drawnInvites = 0
  const drawInvite = () => seeded.bytes(`invite/${drawnInvites++}`, 16).toString('base64url')

  return {
    all,
    create({ subject, creator, people, addressing = 'lid', id, at }) {
      const group: Group = {
        id: id ?? `120363${seeded.digits(`group/${drawnIds++}`, 12)}`,
        addressing,
        creator,
        createdAt: at,
        subject,
        subjectBy: creator,
        subjectAt: at,
        description: null,
        inviteCode: drawInvite(),
        settings: {
          announcement: false,
          locked: false,
          ephemeral: 0,
          memberAddMode: 'admin_add',
          joinApproval: false,
        },
        members: new Map([[creator.phone, { person: creator, role: 'superadmin' }]]),
        departures: 0,
      }
      for (const person of people) changeMember(group, person, 'add')
      all.set(group.id, group)
      return group
    },
    find: (id) => all.get((id ?? '').replace(/@.*$/, '')),
    findByInvite: (code) => [...all.values()].find(({ inviteCode }) => inviteCode === code),
    of: (person) => [...all.values()].filter(({ members }) => members.has(person.phone)),
    newInvite(group) {
      group.inviteCode = drawInvite()
      return group.inviteCode
    },
    clear: () => all.clear(),
  }
}

/** Changes one member; the result is the code of what was wrong, or null. */
export function changeMember(group: Group, person: Person | undefined, change: MemberChange): number | null {
  const member = person && group.members.get(person.phone)
  if (!person) return NOT_FOUND
  if (change === 'add') {
    if (member) return CONFLICT
    if (person.habits.refusesGroups) return REFUSED
    group.members.set(person.phone, { person, role: 'member' })
    return NO_ERROR
  }
  if (!member) return NOT_FOUND
  if (change === 'remove') {
    group.members.delete(person.phone)
    group.departures++
    return NO_ERROR
  }
  // Whoever made the group stays its owner.
  if (member.role === 'superadmin') return change === 'demote' ? REFUSED : NO_ERROR
  member.role = change === 'promote' ? 'admin' : 'member'
  return NO_ERROR
}

export function isAdmin(group: Group, person: Person): boolean {
  const role = group.members.get(person.phone)?.role
  return role === 'admin' || role === 'superadmin'
}

export function mayWrite(group: Group, person: Person): boolean {
  return group.members.has(person.phone) && (!group.settings.announcement || isAdmin(group, person))
}
