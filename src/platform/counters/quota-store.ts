/** The counters of quotas. Whoever locks several of one tenant does so in the order of their names. */
import sql from 'sql-template-tag'
import type { TenantId } from '../../kernel/ids.js'
import type { Tx } from '../database/database.js'
import { type QuotaName, type QuotaUse, quotaNames, quotaPeriods } from './quotas.js'

/** Makes what is missing, and locks them until the transaction ends. */
export async function lockCounters(tx: Tx, use: QuotaUse): Promise<Record<QuotaName, number>> {
  const rows = await tx.query<{ name: QuotaName; used: number }>(
    sql`
      insert into quota_counter (tenant_id, name, period)
      select ${use.tenantId}, name, period from unnest(${[...quotaNames]}::text[], ${periodsOf(use)}::text[])
        as wanted (name, period) order by name
      on conflict (tenant_id, name, period) do update set used = quota_counter.used
      returning name, used`,
    'quota-lock',
  )
  return Object.fromEntries(rows.map(({ name, used }) => [name, used])) as Record<QuotaName, number>
}

export async function hasReservation(tx: Tx, { tenantId, messageId }: QuotaUse): Promise<boolean> {
  const rows = await tx.query(
    sql`select from quota_reservation where tenant_id = ${tenantId} and message_id = ${messageId}`,
    'quota-find',
  )
  return rows.length > 0
}

/** The counters must be locked. */
export async function insertReservation(tx: Tx, use: QuotaUse): Promise<void> {
  await tx.execute(
    sql`
      insert into quota_reservation (tenant_id, message_id, instance_id, day, hour)
      values (${use.tenantId}, ${use.messageId}, ${use.instanceId}, ${use.day}, ${use.hour})`,
    'quota-insert',
  )
  await addToCounters(tx, use, 1)
}

/** The counters must be locked. False: there was none. */
export async function deleteReservation(tx: Tx, use: QuotaUse): Promise<boolean> {
  const deleted = await tx.execute(
    sql`delete from quota_reservation where tenant_id = ${use.tenantId} and message_id = ${use.messageId}`,
    'quota-delete',
  )
  if (deleted > 0) await addToCounters(tx, use, -1)
  return deleted > 0
}

/** Of days that nobody counts any more. */
export async function deleteOldQuotas(tx: Tx, tenantId: TenantId): Promise<void> {
  await tx.execute(sql`
    with gone as (
      delete from quota_reservation where tenant_id = ${tenantId} and reserved_at < now() - interval '3 days'
    )
    delete from quota_counter where tenant_id = ${tenantId} and began_at < now() - interval '3 days'`)
}

async function addToCounters(tx: Tx, use: QuotaUse, change: 1 | -1): Promise<void> {
  await tx.execute(
    sql`
      update quota_counter c set used = used + ${change}
      from unnest(${[...quotaNames]}::text[], ${periodsOf(use)}::text[]) as wanted (name, period)
      where c.tenant_id = ${use.tenantId} and c.name = wanted.name and c.period = wanted.period`,
    'quota-add',
  )
}

function periodsOf(use: QuotaUse): string[] {
  const periods = quotaPeriods(use)
  return quotaNames.map((name) => periods[name])
}
