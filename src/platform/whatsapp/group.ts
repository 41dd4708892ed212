/** Groups, as a connection can read and change them. */
import type { WhatsAppAddress } from './jid.js'

export type GroupRole = 'member' | 'admin' | 'superadmin'

export interface GroupParticipant {
  readonly address: WhatsAppAddress
  readonly role: GroupRole
}

export interface Group {
  readonly jid: string
  readonly subject: string
  readonly description: string | null
  readonly owner: WhatsAppAddress | null
  readonly createdAt: Date | null
  /** Only admins may write. */
  readonly announceOnly: boolean
  /** Only admins may change the group's settings. */
  readonly locked: boolean
  readonly participants: readonly GroupParticipant[]
}

export type ParticipantAction = 'add' | 'remove' | 'promote' | 'demote'

export interface ParticipantOutcome {
  readonly address: WhatsAppAddress
  /** 200; else WhatsApp's reason: 403 they must be invited, 404 not on WhatsApp, 408 left lately, 409 already in it … */
  readonly status: number
}

/** WhatsApp refuses: 401 and 403 not a member or not an admin, 404 no such group, 406 and others as it says. */
export class GroupRefused extends Error {
  readonly code: number

  constructor(code: number) {
    super(`WhatsApp refuses with ${code}`)
    this.name = 'GroupRefused'
    this.code = code
  }
}

/** Each rejects with GroupRefused, or when there is no answer. */
export interface Groups {
  list(): Promise<Group[]>
  read(jid: string): Promise<Group>
  /** Everybody in it but us, with both addresses where known, as of some minutes ago at most. */
  others(jid: string): Promise<readonly WhatsAppAddress[]>
  create(subject: string, participants: readonly WhatsAppAddress[]): Promise<Group>
  rename(jid: string, subject: string): Promise<void>
  /** Null takes the description away. */
  describe(jid: string, description: string | null): Promise<void>
  change(jid: string, action: ParticipantAction, who: readonly WhatsAppAddress[]): Promise<ParticipantOutcome[]>
  leave(jid: string): Promise<void>
  /** The code of the link https://chat.whatsapp.com/<code>. */
  inviteCode(jid: string): Promise<string>
  /** Makes a new code; the old one is worth nothing then. */
  revokeInvite(jid: string): Promise<string>
  /** @returns the jid of the group that was joined. */
  join(code: string): Promise<string>
}

/** What became of a group, by somebody. */
export interface GroupChange {
  readonly jid: string
  /** Undefined: WhatsApp did not say. */
  readonly author: WhatsAppAddress | undefined
  readonly change:
    | { readonly what: 'joined'; readonly group: Group }
    | { readonly what: 'subject'; readonly subject: string }
    | { readonly what: 'description'; readonly description: string | null }
    | { readonly what: 'settings'; readonly announceOnly?: boolean; readonly locked?: boolean }
    | { readonly what: ParticipantAction; readonly who: readonly WhatsAppAddress[] }
}

/** Where nothing can be asked: everything is answered with `refuse`. */
export const refusingGroups = (refuse: () => Promise<never>): Groups => ({
  list: refuse,
  read: refuse,
  others: refuse,
  create: refuse,
  rename: refuse,
  describe: refuse,
  change: refuse,
  leave: refuse,
  inviteCode: refuse,
  revokeInvite: refuse,
  join: refuse,
})
