/**
 * Groups, on the holder's side: what is asked of a group is done on the live connection; what happens in groups is recorded.
 * People are named in the arguments as the caller named them, and in the answers as the API shows them.
 */
import { AppError } from '../../kernel/errors.js'
import type { IdGenerator } from '../../kernel/ids.js'
import { storable } from '../../kernel/storable-text.js'
import type { Database } from '../../platform/database/database.js'
import { type Group, type GroupChange, GroupRefused, type ParticipantAction } from '../../platform/whatsapp/group.js'
import { parseJid, type WhatsAppAddress, waIdFromPhone } from '../../platform/whatsapp/jid.js'
import { parseRecipient } from '../contacts/recipient.js'
import { record } from '../events/record.js'
import type { CommandArgs, CommandResult } from './errand.js'
import { saveSubjects } from './group-store.js'
import { viewGroup, viewPerson } from './group-view.js'
import type { Errand, SessionAttachment, SessionContext } from './session-attachment.js'

export interface GroupErrandsDeps {
  readonly db: Database
  readonly ids: IdGenerator
}

export function createGroupErrands({ db, ids }: GroupErrandsDeps): SessionAttachment {
  return {
    errands: {
      group_list: errand(async (session) => {
        const groups = await session.connection.groups.list()
        await keepSubjects(session, groups)
        return { groups: groups.map(viewGroup) }
      }),
      group_read: errand(async (session, { jid }) => {
        const group = await session.connection.groups.read(text(jid))
        await keepSubjects(session, [group])
        return { group: viewGroup(group) }
      }),
      group_create: errand(async (session, { subject, participants }) => {
        const group = await session.connection.groups.create(text(subject), people(participants))
        await keepSubjects(session, [group])
        return { group: viewGroup(group) }
      }),
      group_update: errand(async ({ connection: { groups } }, { jid, subject, description }) => {
        if (typeof subject === 'string') await groups.rename(text(jid), subject)
        if (description !== undefined) await groups.describe(text(jid), description === null ? null : text(description))
        return {}
      }),
      group_participants: errand(async ({ connection: { groups } }, { jid, action, participants }) => {
        const outcomes = await groups.change(text(jid), text(action) as ParticipantAction, people(participants))
        return {
          participants: outcomes.map(({ address, status }) => ({
            ...viewPerson(address),
            ok: status < 300,
            code: status,
          })),
        }
      }),
      group_leave: errand(async ({ connection: { groups } }, { jid }) => {
        await groups.leave(text(jid))
        return {}
      }),
      group_invite: errand(async ({ connection: { groups } }, { jid, revoke }) => ({
        code: await (revoke === true ? groups.revokeInvite(text(jid)) : groups.inviteCode(text(jid))),
      })),
      group_join: errand(async ({ connection: { groups } }, { code }) => ({ jid: await groups.join(text(code)) })),
    },
    async received(session, event) {
      if (event.type === 'group') await recordChange(session, event.change)
    },
  }

  async function keepSubjects({ tenantId, instanceId }: SessionContext, groups: readonly Group[]): Promise<void> {
    await saveSubjects(
      db,
      { tenantId, instanceId },
      groups.map(({ jid, subject }) => ({ chatId: ids.next('cht'), jid, subject: storable(subject) })),
    )
  }

  async function recordChange({ tenantId, instanceId }: SessionContext, told: GroupChange): Promise<void> {
    const { jid, author, change } = told
    const subject =
      change.what === 'subject' ? change.subject : change.what === 'joined' ? change.group.subject : undefined
    if (subject !== undefined) {
      const chat = { chatId: ids.next('cht'), jid, subject: storable(subject) }
      await saveSubjects(db, { tenantId, instanceId }, [chat])
    }
    const data = { groupId: jid, author: author ? viewPerson(author) : null, ...viewChange(change) }
    await db.tx((tx) =>
      record(tx, [{ id: ids.next('evt'), tenantId, type: 'group.updated', instanceId, subjectId: null, data }]),
    )
  }
}

function viewChange(change: GroupChange['change']): Record<string, unknown> {
  switch (change.what) {
    case 'joined':
      return { change: 'joined', group: viewGroup({ ...change.group, subject: storable(change.group.subject) }) }
    case 'subject':
      return { change: 'subject', subject: storable(change.subject) }
    case 'description':
      return { change: 'description', description: change.description && storable(change.description) }
    case 'settings': {
      const { what, ...settings } = change
      return { change: what, ...settings }
    }
    default:
      return { change: change.what, participants: change.who.map(viewPerson) }
  }
}

/** WhatsApp's refusal becomes an error that says what to do. */
function errand(work: (session: SessionContext, args: CommandArgs) => Promise<CommandResult>): Errand {
  return async (session, args) => {
    try {
      return await work(session, args)
    } catch (error) {
      if (!(error instanceof GroupRefused)) throw error
      const detail = `WhatsApp refuses with ${error.code}.`
      if (error.code === 404) throw new AppError('not_found', { detail: 'WhatsApp knows no such group.', cause: error })
      if (error.code === 410)
        throw new AppError('not_found', { detail: 'This invite is worth nothing any more.', cause: error })
      throw new AppError('group_refused', { detail, cause: error })
    }
  }
}

/** Commands are written by our own routes; another version's may be anything. */
function text(value: unknown): string {
  if (typeof value === 'string') return value
  throw new AppError('invalid_request')
}

function people(value: unknown): WhatsAppAddress[] {
  if (!Array.isArray(value)) throw new AppError('invalid_request')
  return value.map((item) => addressOf(text(item)))
}

function addressOf(item: string): WhatsAppAddress {
  const jid = item.includes('@') ? parseJid(item) : undefined
  if (jid && !jid.groupJid) return jid
  const { value } = parseRecipient(item)
  return { waId: waIdFromPhone(value) }
}
