/** What WhatsApp said of numbers, and how fast it is asked. */
import sql from 'sql-template-tag'
import type { ContactId, InstanceId, TenantId } from '../../kernel/ids.js'
import type { Queryable, Tx } from '../../platform/database/database.js'

export interface SaidOfNumber {
  readonly phone: string
  readonly onWhatsApp: boolean
  readonly waId: string | null
  readonly lid: string | null
  /** False: it is to be asked again with the next message. */
  readonly final: boolean
}

/** Keeps what WhatsApp said when asked about a phone. @returns whose phone it is, if anybody's. */
export async function saveNumberCheck(
  db: Queryable,
  tenantId: TenantId,
  { phone, onWhatsApp, waId, lid, final }: SaidOfNumber,
): Promise<ContactId | undefined> {
  const [row] = await db.query<{ contactId: ContactId | null }>(
    sql`
      insert into contact_identity as i (tenant_id, kind, value, on_whatsapp, wa_id, lid, checked_at)
      values (${tenantId}, 'phone', ${phone}, ${onWhatsApp}, ${waId}, ${lid}, case when ${final}::boolean then now() end)
      on conflict (tenant_id, kind, value) do update set
        on_whatsapp = excluded.on_whatsapp, wa_id = excluded.wa_id, lid = excluded.lid, checked_at = excluded.checked_at
      returning contact_id as "contactId"`,
    'save-number-check',
  )
  return row?.contactId ?? undefined
}

export interface NumberCheckRow {
  readonly phone: string
  readonly exists: boolean
  readonly waId: string | null
  readonly lid: string | null
  readonly contactId: ContactId | null
  readonly checkedAt: Date
}

/** What WhatsApp said of these phones, where that is young enough to be believed. */
export async function findNumberChecks(
  tx: Tx,
  tenantId: TenantId,
  phones: readonly string[],
  believedMs: { readonly exists: number; readonly missing: number },
): Promise<NumberCheckRow[]> {
  return tx.query<NumberCheckRow>(sql`
    select i.value as phone, i.on_whatsapp as exists, i.wa_id as "waId", i.lid, i.contact_id as "contactId",
      i.checked_at as "checkedAt"
    from contact_identity i
    where i.tenant_id = ${tenantId} and i.kind = 'phone' and i.value = any (${phones}::text[])
      and i.checked_at > now() - make_interval(secs =>
        case when i.on_whatsapp then ${believedMs.exists}::float8 else ${believedMs.missing}::float8 end / 1000)`)
}

export interface CheckPace {
  /** Numbers that may be asked about at once after a rest. */
  readonly burst: number
  /** … and from then on, one each so many ms. */
  readonly everyMs: number
}

/** Takes room for questions about `count` numbers. @returns 0, or for how many ms there is none; then none was taken. */
export async function takeCheckRoom(
  tx: Tx,
  { tenantId, instanceId }: { readonly tenantId: TenantId; readonly instanceId: InstanceId },
  count: number,
  { burst, everyMs }: CheckPace,
): Promise<number> {
  const cost = sql`make_interval(secs => ${(count * everyMs) / 1000}::float8)`
  const most = sql`make_interval(secs => ${(burst * everyMs) / 1000}::float8)`
  const taken = await tx.query(sql`
    insert into number_check_pace as p (instance_id, tenant_id, free_at) values (${instanceId}, ${tenantId}, now() + ${cost})
    on conflict (instance_id) do update set free_at = greatest(p.free_at, now()) + ${cost}
      where greatest(p.free_at, now()) + ${cost} <= now() + ${most}
    returning 1`)
  if (taken.length > 0) return 0
  const [row] = await tx.query<{ ms: number }>(sql`
    select extract(epoch from free_at + ${cost} - ${most} - now())::float8 * 1000 as ms
    from number_check_pace where instance_id = ${instanceId} and tenant_id = ${tenantId}`)
  return Math.max(1, row?.ms ?? everyMs)
}
