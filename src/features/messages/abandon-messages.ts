import type { InstanceId, TenantId } from '../../kernel/ids.js'
import type { Tx } from '../../platform/database/database.js'
import { lockLanes, settleAbandoned } from './abandon-store.js'

/**
 * Nobody will send for this instance any more: what was accepted and surely not sent is `failed`, what may have left is
 * `unknown`, each with its event. To be called in the transaction that deletes the instance, and again in the one that purges
 * it, for what an accept or a send under way had left in between. Takes lanes by chat, messages by id, event counters.
 */
export async function abandonMessages(tx: Tx, tenantId: TenantId, instanceId: InstanceId): Promise<void> {
  await lockLanes(tx, tenantId, instanceId)
  await settleAbandoned(tx, tenantId, instanceId, 'instance_deleted')
}
