/** Receipts as a connection tells them, to what is stored of them. */
import type { IdGenerator, InstanceId, TenantId } from '../../kernel/ids.js'
import type { Database, Tx } from '../../platform/database/database.js'
import type { Fence } from '../../platform/leases/lease.js'
import { memberKey } from '../../platform/whatsapp/jid.js'
import type { Receipt } from '../../platform/whatsapp/whatsapp.js'
import type { MemberReceiptItem } from './member-receipt-store.js'
import { applyMemberReceipts } from './member-receipts.js'
import { type ReceiptStatus, rank, stepsTo } from './message.js'
import { applyReceipts, type EarlyReceipt, type ReceiptItem, takeEarlyReceipts } from './receipt-store.js'

interface Owner {
  readonly tenantId: TenantId
  readonly instanceId: InstanceId
  readonly fence: Fence | null
}

export interface ReceiptsOptions {
  readonly db: Database
  readonly ids: IdGenerator
}

/** Applies what one session received, in order. */
export async function storeReceipts(
  { db, ids }: ReceiptsOptions,
  owner: Owner,
  receipts: readonly Receipt[],
): Promise<void> {
  const items = receipts.flatMap((receipt) => itemsOf(ids, owner, receipt))
  if (items.length > 0) await applyReceipts(db, owner.fence, items)
  const ofMembers = receipts.flatMap((receipt) => memberItemsOf(owner, receipt))
  if (ofMembers.length > 0) await db.tx((tx) => applyMemberReceipts(tx, { ids, fence: owner.fence }, ofMembers))
}

/** Applies what came before these messages were stored. */
export async function applyEarlyReceipts(
  tx: Tx,
  ids: IdGenerator,
  { fence, instanceId }: Owner,
  whatsappIds: readonly string[],
): Promise<void> {
  await applyKept(tx, { ids, fence }, await takeEarlyReceipts(tx, instanceId, whatsappIds))
}

/** Applies receipts as they are kept, to messages that are stored; nothing when the lease is lost. */
export async function applyKept(
  tx: Tx,
  { ids, fence }: { readonly ids: IdGenerator; readonly fence: Fence | null },
  early: readonly EarlyReceipt[],
): Promise<void> {
  // Those of one flush of the journal are of one moment: their order is that of the statuses.
  const kept = early.toSorted((one, other) => rank(one.status) - rank(other.status))
  const items = kept.flatMap((receipt) =>
    stepsTo(isOfMember(receipt) ? 'sent' : receipt.status).map((status) => ({
      ...receipt,
      status,
      eventId: ids.next('evt'),
    })),
  )
  if (items.length > 0) await applyReceipts(tx, fence, items)
  const ofMembers = kept.filter(isOfMember)
  if (ofMembers.length > 0) await applyMemberReceipts(tx, { ids, fence }, ofMembers)
}

const isOfMember = (receipt: EarlyReceipt): receipt is EarlyReceipt & MemberReceiptItem => receipt.member !== ''

function itemsOf(ids: IdGenerator, { tenantId, instanceId }: Owner, receipt: Receipt): ReceiptItem[] {
  const { at, errorCode = null } = receipt
  return receipt.whatsappIds.flatMap((whatsappId) =>
    stepsOf(receipt).map((status) => {
      return { tenantId, instanceId, whatsappId, status, at, errorCode, eventId: ids.next('evt') }
    }),
  )
}

/**
 * Who received a message has it from WhatsApp's server: that it was sent may be known from this receipt first. One member of
 * a group says no more of the message than that.
 */
const stepsOf = ({ status, member }: Receipt): readonly ReceiptStatus[] => stepsTo(member ? 'sent' : status)

function memberItemsOf({ tenantId, instanceId }: Owner, receipt: Receipt): MemberReceiptItem[] {
  const { status, at, member, whatsappIds } = receipt
  const key = member && memberKey(member)
  if (!key || status === 'sent' || status === 'failed') return []
  return whatsappIds.map((whatsappId) => ({ tenantId, instanceId, whatsappId, status, at, ...key }))
}
