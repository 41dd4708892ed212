/** Idempotency keys as stored: one row a key, made when its first request begins, answered when that has its answer. */
import sql from 'sql-template-tag'
import type { TenantId } from '../../kernel/ids.js'
import type { Database, Tx } from '../database/database.js'

export const KEY_LIFETIME_HOURS = 24
/** After this long without an answer, the process that began is taken for dead. Longer than any request lasts. */
export const RUNNING_SECONDS = 60

export interface RequestIdentity {
  /** Method and pattern of the route, such as `POST /api/instances`. */
  readonly route: string
  /** As the caller chose it. */
  readonly key: string
  /** SHA-256 of what makes two requests the same. */
  readonly fingerprint: Buffer
}

/** A claim on a key, to be settled by who made it. */
export interface Claim extends RequestIdentity {
  readonly token: string
}

export type KeyState =
  | { readonly state: 'claimed'; readonly claim: Claim }
  | { readonly state: 'running' }
  | { readonly state: 'reused' }
  | { readonly state: 'answered'; readonly status: number; readonly response: unknown }

interface KeyRow {
  readonly fingerprint: Buffer
  readonly status: number | null
  readonly response: unknown
}

/** Claims the key for this request, or says what became of it. */
export function claimKey(db: Database, tenantId: TenantId, identity: RequestIdentity): Promise<KeyState> {
  return db.tenantTx(tenantId, async (tx) => {
    const token = await insertClaim(tx, tenantId, identity)
    if (token !== undefined) return { state: 'claimed', claim: { ...identity, token } }
    const row = await findKey(tx, tenantId, identity)
    // Gone between the two statements: released by a failed request. The caller comes again.
    if (!row) return { state: 'running' }
    if (!row.fingerprint.equals(identity.fingerprint)) return { state: 'reused' }
    if (row.status === null) return { state: 'running' }
    return { state: 'answered', status: row.status, response: row.response }
  })
}

/** The token, or undefined when the key is in use. Takes over what expired, and what the same request left behind in a crash. */
async function insertClaim(
  tx: Tx,
  tenantId: TenantId,
  { route, key, fingerprint }: RequestIdentity,
): Promise<string | undefined> {
  const [row] = await tx.query<{ token: string }>(sql`
    insert into idempotency as i (tenant_id, route, key, fingerprint, running_until, expires_at)
    values (${tenantId}, ${route}, ${key}, ${fingerprint},
      clock_timestamp() + make_interval(secs => ${RUNNING_SECONDS}), now() + make_interval(hours => ${KEY_LIFETIME_HOURS}))
    on conflict (tenant_id, route, key) do update set
      fingerprint = excluded.fingerprint, status = null, response = null,
      running_until = excluded.running_until, expires_at = excluded.expires_at
    where i.expires_at <= now()
      or (i.status is null and i.running_until <= now() and i.fingerprint = excluded.fingerprint)
    returning running_until::text as token`)
  return row?.token
}

async function findKey(
  tx: Tx,
  tenantId: TenantId,
  { route, key }: Pick<RequestIdentity, 'route' | 'key'>,
): Promise<KeyRow | undefined> {
  const [row] = await tx.query<KeyRow>(sql`
    select fingerprint, status, response from idempotency
    where tenant_id = ${tenantId} and route = ${route} and key = ${key}`)
  return row
}

/** Keeps the answer for whoever asks again. False when another request has taken the key over meanwhile. */
export async function storeAnswer(
  db: Database,
  tenantId: TenantId,
  { route, key, token }: Claim,
  answer: { readonly status: number; readonly response: unknown },
): Promise<boolean> {
  const touched = await db.tenantTx(tenantId, (tx) =>
    tx.execute(sql`
      update idempotency set status = ${answer.status}, response = ${JSON.stringify(answer.response)}::jsonb, running_until = null
      where tenant_id = ${tenantId} and route = ${route} and key = ${key} and running_until = ${token}::timestamptz`),
  )
  return touched === 1
}

/** Gives the key back: the request failed in a way that the next one may not. */
export async function releaseKey(db: Database, tenantId: TenantId, { route, key, token }: Claim): Promise<void> {
  await db.tenantTx(tenantId, (tx) =>
    tx.execute(sql`
      delete from idempotency
      where tenant_id = ${tenantId} and route = ${route} and key = ${key} and running_until = ${token}::timestamptz`),
  )
}

/** Housekeeping, of all tenants, a bounded piece at a time. @returns how many rows went. */
export function deleteExpiredKeys(db: Database, limit = 5_000): Promise<number> {
  return db.execute(sql`
    delete from idempotency where (tenant_id, route, key) in (
      select tenant_id, route, key from idempotency where expires_at <= now() order by expires_at limit ${limit})`)
}
