/** Ending what a deleted instance has not sent. */
import sql from 'sql-template-tag'
import type { InstanceId, TenantId } from '../../kernel/ids.js'
import type { Tx } from '../../platform/database/database.js'
import { recordNewEvents } from '../events/record.js'

/**
 * Locks every lane of the instance, in the order in which accepting and settling lock them. A statement of its own: only
 * the next one sees what was accepted while this one waited.
 */
export async function lockLanes(tx: Tx, tenantId: TenantId, instanceId: InstanceId): Promise<void> {
  await tx.execute(sql`
    select from chat_lane where tenant_id = ${tenantId} and instance_id = ${instanceId} order by chat_id for update`)
}

/**
 * Settles what waits as `failed` and what may have left as `unknown`, with their events, and empties the lanes; these must be
 * locked. Reads all that the instance ever sent, by its index: once in the life of an instance that is cheap enough.
 */
export async function settleAbandoned(
  tx: Tx,
  tenantId: TenantId,
  instanceId: InstanceId,
  errorCode: string,
): Promise<void> {
  await tx.execute(sql`
    with target as materialized (
      select id, case status when 'queued' then 'failed' else 'unknown' end as outcome from message
      where instance_id = ${instanceId} and tenant_id = ${tenantId} and direction = 'outbound'
        and status in ('queued', 'sending')
      order by id for update
    ), moved as (
      update message m set
        status = target.outcome::message_status,
        failed_at = case when target.outcome = 'failed' then now() else m.failed_at end,
        error_code = ${errorCode},
        error_detail = null
      from target where m.id = target.id and m.id = any (array(select id from target))
      returning m.id, target.outcome
    ), emptied as (
      update chat_lane set head_seq = next_seq, head_due_at = null
      where tenant_id = ${tenantId} and instance_id = ${instanceId} and head_seq < next_seq
    ), new_event as (
      select uuid_v7() as id, ${tenantId}::uuid as tenant_id, 'message.' || outcome as type,
        ${instanceId}::uuid as instance_id, id as subject_id,
        jsonb_build_object('status', outcome, 'errorCode', ${errorCode}::text) as data,
        row_number() over (order by id) as ord
      from moved
    )
    ${recordNewEvents}
    select`)
}
