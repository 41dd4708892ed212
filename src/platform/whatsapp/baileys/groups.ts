/** Groups through Baileys. What was read of a group is remembered for a while, so that a message does not ask for it again. */
import type { BaileysEventMap, GroupMetadata, WASocket } from 'baileys'
import type { Clock } from '../../../kernel/clock.js'
import {
  type Group,
  type GroupChange,
  type GroupParticipant,
  GroupRefused,
  type Groups,
  type ParticipantAction,
  type ParticipantOutcome,
} from '../group.js'
import { isSame, parseJid, toJid, type WhatsAppAddress, withCounterpart } from '../jid.js'

export interface GroupsOptions {
  readonly library: () => WASocket
  readonly clock: Clock
  readonly me: () => WhatsAppAddress
  readonly tell: (change: GroupChange) => void
  /** The other address of a person, when known. */
  readonly lidOf: (waId: string) => string | undefined
  readonly phoneOf: (lid: string) => string | undefined
}

export interface GroupDesk extends Groups {
  /** For Baileys' own question before it writes to a group. */
  remembered(jid: string): Promise<GroupMetadata>
  listen(events: WASocket['ev']): void
}

/** Members change by notifications, which forget it; this bounds what a lost one costs. */
const REMEMBER_MS = 5 * 60_000
const MAX_REMEMBERED = 500
const ACTIONS: ReadonlySet<string> = new Set<ParticipantAction>(['add', 'remove', 'promote', 'demote'])

export function createGroups({ library, clock, me, tell, lidOf, phoneOf }: GroupsOptions): GroupDesk {
  const known = new Map<string, { readonly metadata: GroupMetadata; readonly until: number }>()

  function remember(metadata: GroupMetadata): void {
    known.delete(metadata.id)
    known.set(metadata.id, { metadata, until: clock.mono() + REMEMBER_MS })
    for (const oldest of known.keys()) if (known.size > MAX_REMEMBERED) known.delete(oldest)
  }

  async function ask<Answer>(question: (socket: WASocket) => Promise<Answer>): Promise<Answer> {
    try {
      return await question(library())
    } catch (error) {
      const code = refusalCode(error)
      throw code === undefined ? error : new GroupRefused(code)
    }
  }

  async function changing<Answer>(jid: string, question: (socket: WASocket) => Promise<Answer>): Promise<Answer> {
    known.delete(jid)
    const answer = await ask(question)
    known.delete(jid)
    return answer
  }

  /** WhatsApp names whoever did it by one address; the group, or an earlier stanza, may have told the other. */
  function authorOf(
    jid: string,
    { author, authorPn }: Pick<Partial<GroupMetadata>, 'author' | 'authorPn'>,
  ): WhatsAppAddress | undefined {
    const given: WhatsAppAddress = { ...parseJid(authorPn), ...parseJid(author) }
    const members = (known.get(jid)?.metadata.participants ?? []).flatMap((member) => addressOf(member) ?? [])
    const said = { ...members.find((member) => isSame(member, given)), ...given }
    const waId = said.waId ?? (said.lid && phoneOf(said.lid))
    const lid = said.lid ?? (waId && lidOf(waId))
    return waId || lid ? { ...(waId ? { waId } : {}), ...(lid ? { lid } : {}) } : undefined
  }

  function onUpdated(updates: BaileysEventMap['groups.update']): void {
    for (const update of updates) {
      if (!update.id) continue
      const author = authorOf(update.id, update)
      known.delete(update.id)
      // A whole group is the answer to a question of ours, and no news.
      if (update.participants) continue
      for (const change of changesIn(update)) tell({ jid: update.id, author, change })
    }
  }

  async function remembered(jid: string): Promise<GroupMetadata> {
    const found = known.get(jid)
    if (found && found.until > clock.mono()) return found.metadata
    const metadata = await library().groupMetadata(jid)
    remember(metadata)
    return metadata
  }

  return {
    async list() {
      const all = await ask((socket) => socket.groupFetchAllParticipating())
      return Object.values(all).map(readGroup)
    },
    async read(jid) {
      const metadata = await ask((socket) => socket.groupMetadata(jid))
      remember(metadata)
      return readGroup(metadata)
    },
    async create(subject, participants) {
      const metadata = await ask((socket) => socket.groupCreate(subject, participants.map(toJid)))
      remember(metadata)
      return readGroup(metadata)
    },
    rename: (jid, subject) => changing(jid, (socket) => socket.groupUpdateSubject(jid, subject)),
    describe: (jid, description) =>
      changing(jid, (socket) => socket.groupUpdateDescription(jid, description ?? undefined)),
    async change(jid, action, who) {
      const outcomes = await changing(jid, (socket) => socket.groupParticipantsUpdate(jid, who.map(toJid), action))
      return outcomes.map(readOutcome)
    },
    leave: (jid) => changing(jid, (socket) => socket.groupLeave(jid)),
    async inviteCode(jid) {
      return given(await ask((socket) => socket.groupInviteCode(jid)))
    },
    async revokeInvite(jid) {
      return given(await ask((socket) => socket.groupRevokeInvite(jid)))
    },
    async join(code) {
      return given(await ask((socket) => socket.groupAcceptInvite(code)))
    },
    async others(jid) {
      const { participants } = await remembered(jid)
      return participants
        .flatMap((participant) => addressOf(participant) ?? [])
        .filter((address) => !isSame(address, me()))
        .map((address) => withCounterpart(address, { lidOf, phoneOf }))
    },
    remembered,
    listen(events) {
      events.on('groups.upsert', (groups) => {
        for (const metadata of groups) {
          remember(metadata)
          const group = readGroup(metadata)
          tell({ jid: metadata.id, author: authorOf(group.jid, metadata), change: { what: 'joined', group } })
        }
      })
      events.on('groups.update', onUpdated)
      events.on('group-participants.update', ({ id, participants, action, ...by }) => {
        const author = authorOf(id, by)
        known.delete(id)
        if (!ACTIONS.has(action)) return
        const who = participants.flatMap((participant) => addressOf(participant) ?? [])
        tell({ jid: id, author, change: { what: action as ParticipantAction, who } })
      })
    },
  }
}

/** The library throws what it makes of the server's answer: `data` is the code, or the answer's own node. */
export function refusalCode(error: unknown): number | undefined {
  if (!(error instanceof Error) || !('data' in error || 'output' in error)) return undefined
  const { data, output } = error as { data?: unknown; output?: { statusCode?: number } }
  if (typeof data === 'number') return data
  const attrs = (data as { attrs?: { code?: string } } | null | undefined)?.attrs
  if (attrs?.code) return Number(attrs.code)
  const status = output?.statusCode
  return status !== undefined && [401, 403, 404, 406, 409, 410].includes(status) ? status : undefined
}

function given(value: string | undefined): string {
  if (!value) throw new Error('WhatsApp did not answer')
  return value
}

function readGroup(metadata: GroupMetadata): Group {
  return {
    jid: metadata.id,
    subject: metadata.subject ?? '',
    description: metadata.desc ?? null,
    owner: parseJid(metadata.owner) ?? null,
    createdAt: metadata.creation ? new Date(metadata.creation * 1_000) : null,
    announceOnly: metadata.announce ?? false,
    locked: metadata.restrict ?? false,
    participants: metadata.participants.flatMap(readParticipant),
  }
}

function readParticipant(participant: GroupMetadata['participants'][number]): GroupParticipant[] {
  const address = addressOf(participant)
  return address ? [{ address, role: participant.admin ?? 'member' }] : []
}

/** One of both is the id, as the group is addressed; the other comes beside it. */
export function addressOf({
  id,
  phoneNumber,
  lid,
}: GroupMetadata['participants'][number]): WhatsAppAddress | undefined {
  const address = { ...parseJid(phoneNumber), ...parseJid(lid), ...parseJid(id) }
  return address.waId || address.lid ? address : undefined
}

function readOutcome({ status, jid }: { status: string; jid: string | undefined }): ParticipantOutcome {
  return { address: parseJid(jid) ?? {}, status: Number(status) }
}

function changesIn(update: Partial<GroupMetadata>): GroupChange['change'][] {
  const { subject, desc, announce, restrict } = update
  const isSetting = announce !== undefined || restrict !== undefined
  return [
    ...(subject === undefined ? [] : [{ what: 'subject' as const, subject }]),
    ...('desc' in update ? [{ what: 'description' as const, description: desc ?? null }] : []),
    ...(isSetting
      ? [
          {
            what: 'settings' as const,
            ...(announce === undefined ? {} : { announceOnly: announce }),
            ...(restrict === undefined ? {} : { locked: restrict }),
          },
        ]
      : []),
  ]
}
