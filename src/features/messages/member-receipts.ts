/** Applying the receipts of members of groups: kept each, and told of the message when all to whom it went have given theirs. */
import type { IdGenerator, InstanceId, MessageId, TenantId } from '../../kernel/ids.js'
import type { Database, Tx } from '../../platform/database/database.js'
import type { Fence } from '../../platform/leases/lease.js'
import { memberKey, STATUS_JID } from '../../platform/whatsapp/jid.js'
import type { SessionContext } from '../instances/session-attachment.js'
import {
  expectReceipts,
  findReached,
  keepMemberReceipts,
  lockSent,
  MAX_MEMBERS,
  type MemberReceiptItem,
} from './member-receipt-store.js'
import { applyReceipts } from './receipt-store.js'

interface Applying {
  readonly ids: IdGenerator
  readonly fence: Fence | null
}

/** @returns false when the lease is lost; then nothing was written. */
export async function applyMemberReceipts(
  tx: Tx,
  { ids, fence }: Applying,
  items: readonly MemberReceiptItem[],
): Promise<boolean> {
  const messageIds = await keepMemberReceipts(tx, fence, items)
  if (!messageIds) return false
  await tellReached(tx, { ids, fence }, messageIds)
  return true
}

/** After the lock on the messages: whoever had it before has committed, and is counted. */
async function tellReached(tx: Tx, { ids, fence }: Applying, messageIds: readonly MessageId[]): Promise<void> {
  const reached = messageIds.length === 0 ? [] : await findReached(tx, messageIds)
  if (reached.length === 0) return
  const items = reached.map((one) => ({ ...one, errorCode: null, eventId: ids.next('evt') }))
  await applyReceipts(tx, fence, items)
}

/** Of a message that our own number wrote on the phone: whom it went to is asked for now, and what they did may be known. */
export async function learnRecipients(
  db: Database,
  { ids, session }: { readonly ids: IdGenerator; readonly session: Pick<SessionContext, 'lease' | 'connection'> },
  sent: GroupSend,
): Promise<void> {
  await noteRecipients(db, session, sent)
  await db.tx(async (tx) => tellReached(tx, { ids, fence: session.lease }, await lockSent(tx, sent)))
}

export interface GroupSend {
  readonly tenantId: TenantId
  readonly instanceId: InstanceId
  readonly groupJid: string
  readonly whatsappId: string
}

/**
 * Notes whom the group has, before a message leaves for it. Nothing when that cannot be known, or the group is too large:
 * then the message stays `sent`, which is true. Never rejects for what WhatsApp answers: the send itself will tell.
 */
export async function noteRecipients(
  db: Database,
  { lease, connection }: Pick<SessionContext, 'lease' | 'connection'>,
  { groupJid, ...sent }: GroupSend,
): Promise<void> {
  if (groupJid === STATUS_JID) return
  const others = await connection.groups.others(groupJid).catch(() => [])
  const members = others.flatMap((address) => memberKey(address) ?? [])
  if (members.length === 0 || members.length > MAX_MEMBERS) return
  await expectReceipts(db, lease, sent, members)
}
