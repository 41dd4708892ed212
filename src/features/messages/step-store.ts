/**
 * The steps of a message's way that its row does not hold: claims after the first, tries that ended badly, what a person
 * asked for. What goes at the first try has none, so the usual message costs nothing here; the rest is written by the very
 * statement that makes it happen.
 */
import sql, { type Sql } from 'sql-template-tag'
import type { MessageId, TenantId } from '../../kernel/ids.js'
import type { Queryable, Tx } from '../../platform/database/database.js'
import type { Lease } from '../../platform/leases/lease.js'

const messageSteps = [
  'released',
  'claimed',
  'not_sent',
  'maybe_sent',
  'failed',
  'gave_up',
  'resend',
  'cancelled',
] as const
type MessageStep = (typeof messageSteps)[number]

/**
 * A CTE to append to the claim, which has `claimed` and `head` (the row before): notes a claim that is not the first. The
 * first one stands in the message's row until then.
 */
export const recordClaims = ({ epoch }: Lease): Sql => sql`
  , noted_claim as (
    insert into message_step (message_id, tenant_id, attempt, step, epoch, at)
    select c.id, c.tenant_id, c.attempts, 'claimed', ${epoch}::bigint, now()
    from claimed c where c.attempts > 1 and c.status = 'sending'
    union all
    select c.id, c.tenant_id, 1, 'claimed', head.epoch, head.first_try_at
    from claimed c join head using (id) where c.attempts = 2 and c.status = 'sending' and head.first_try_at is not null
    on conflict (message_id, attempt, step) do nothing
  )`

/** A CTE to append to the settling, which has `item` and `moved`: notes tries that ended badly. Written twice it is once there. */
export const recordBadEnds: Sql = sql`
  , noted_end as (
    insert into message_step (message_id, tenant_id, attempt, step, epoch, code, at)
    select i.message_id, i.tenant_id, moved.attempts,
      case i.outcome when 'queued' then 'not_sent' when 'sending' then 'maybe_sent' when 'unknown' then 'gave_up' else 'failed' end,
      -- The time that its event has, so that the two are known for one.
      moved.epoch, i.code, now()
    from item i join moved on moved.id = i.message_id
    where i.outcome in ('queued', 'sending', 'unknown', 'failed')
    on conflict (message_id, attempt, step) do nothing
  )`

/** Notes what a person asked for, after so many tries. */
export async function noteStep(
  tx: Tx,
  tenantId: TenantId,
  { messageId, attempt, step }: { messageId: MessageId; attempt: number; step: 'released' | 'resend' | 'cancelled' },
): Promise<void> {
  await tx.execute(sql`
    insert into message_step (message_id, tenant_id, attempt, step) values (${messageId}, ${tenantId}, ${attempt}, ${step})
    on conflict (message_id, attempt, step) do nothing`)
}

/** Keeps what the row says of the first claim, before the row forgets it. */
export async function keepFirstClaim(tx: Tx, tenantId: TenantId, messageId: MessageId): Promise<void> {
  await tx.execute(sql`
    insert into message_step (message_id, tenant_id, attempt, step, epoch, at)
    select id, tenant_id, 1, 'claimed', epoch, first_try_at from message
    where id = ${messageId} and tenant_id = ${tenantId} and attempts = 1 and first_try_at is not null
    on conflict (message_id, attempt, step) do nothing`)
}

export interface StepRow {
  readonly attempt: number
  readonly step: MessageStep
  readonly epoch: bigint | null
  readonly code: string | null
  readonly at: Date
}

/** In the order in which they happened. */
export async function listSteps(db: Queryable, tenantId: TenantId, messageId: MessageId): Promise<StepRow[]> {
  return db.query<StepRow>(sql`
    select attempt, step, epoch, code, at from message_step
    where tenant_id = ${tenantId} and message_id = ${messageId} order by at, attempt`)
}
