/** SQL of API keys. Changes of a key are announced, so that no process goes on trusting what it remembers. */
import sql from 'sql-template-tag'
import type { ApiKeyId, TenantId } from '../../kernel/ids.js'
import type { Queryable, Tx } from '../../platform/database/database.js'
import type { Scope } from '../../platform/http/route.js'
import { type ApiKey, BOOTSTRAP_PUBLIC_ID } from './api-key.js'

/** NOTIFY channel; the payload is the key's public id. */
export const API_KEY_CHANNEL = 'mirante_api_key'

interface ApiKeyRow {
  readonly id: ApiKeyId
  readonly tenant_id: TenantId
  readonly public_id: string
  readonly secret_sha256: Buffer
  readonly name: string
  readonly scopes: Scope[]
  readonly created_at: Date
  readonly expires_at: Date | null
  readonly revoked_at: Date | null
  readonly last_used_at: Date | null
}

const columns = sql`id, tenant_id, public_id, secret_sha256, name, scopes, created_at, expires_at, revoked_at, last_used_at`

const toApiKey = (row: ApiKeyRow): ApiKey => ({
  id: row.id,
  tenantId: row.tenant_id,
  publicId: row.public_id,
  secretSha256: row.secret_sha256,
  name: row.name,
  scopes: row.scopes,
  createdAt: row.created_at,
  expiresAt: row.expires_at,
  revokedAt: row.revoked_at,
  lastUsedAt: row.last_used_at,
})

/** Of any tenant: this is how a request gets its tenant. */
export async function findKeyByPublicId(db: Queryable, publicId: string): Promise<ApiKey | undefined> {
  const [row] = await db.query<ApiKeyRow>(
    sql`select ${columns} from api_key where public_id = ${publicId}`,
    'find_api_key',
  )
  return row && toApiKey(row)
}

export type NewApiKey = Pick<ApiKey, 'id' | 'publicId' | 'secretSha256' | 'name' | 'scopes' | 'expiresAt'>

export async function insertKey(tx: Tx, tenantId: TenantId, key: NewApiKey): Promise<ApiKey> {
  const [row] = await tx.query<ApiKeyRow>(sql`
    insert into api_key (id, tenant_id, public_id, secret_sha256, name, scopes, expires_at)
    values (${key.id}, ${tenantId}, ${key.publicId}, ${key.secretSha256}, ${key.name}, ${[...key.scopes]}::text[],
      ${key.expiresAt})
    returning ${columns}`)
  if (!row) throw new Error('insert returned no row')
  return toApiKey(row)
}

export async function findKey(tx: Tx, tenantId: TenantId, id: ApiKeyId): Promise<ApiKey | undefined> {
  const [row] = await tx.query<ApiKeyRow>(
    sql`select ${columns} from api_key where tenant_id = ${tenantId} and id = ${id}`,
  )
  return row && toApiKey(row)
}

/** Newest first. */
export async function listKeys(
  tx: Tx,
  tenantId: TenantId,
  { limit, before }: { readonly limit: number; readonly before: ApiKeyId | undefined },
): Promise<ApiKey[]> {
  const rows = await tx.query<ApiKeyRow>(sql`
    select ${columns} from api_key
    where tenant_id = ${tenantId} and (${before ?? null}::uuid is null or id < ${before ?? null}::uuid)
    order by id desc limit ${limit}`)
  return rows.map(toApiKey)
}

/** The live admin keys of the tenant, locked: two requests must not each spare the other's key. */
export async function lockAdminKeys(tx: Tx, tenantId: TenantId): Promise<ApiKeyId[]> {
  const rows = await tx.query<{ id: ApiKeyId }>(sql`
    select id from api_key
    where tenant_id = ${tenantId} and 'admin' = any (scopes) and revoked_at is null
      and (expires_at is null or expires_at > now())
    order by id for update`)
  return rows.map(({ id }) => id)
}

export async function revokeKey(tx: Tx, tenantId: TenantId, id: ApiKeyId): Promise<void> {
  await tx.execute(sql`
    with revoked as (
      update api_key set revoked_at = now() where tenant_id = ${tenantId} and id = ${id} and revoked_at is null
      returning public_id
    )
    select pg_notify(${API_KEY_CHANNEL}, public_id) from revoked`)
}

/** Lets a key end at this time, or earlier where that was planned. */
export async function expireKey(tx: Tx, tenantId: TenantId, id: ApiKeyId, at: Date): Promise<void> {
  await tx.execute(sql`
    with expired as (
      update api_key set expires_at = least(expires_at, ${at}) where tenant_id = ${tenantId} and id = ${id}
      returning public_id
    )
    select pg_notify(${API_KEY_CHANNEL}, public_id) from expired`)
}

/** At most once a minute a key, however many processes serve it. */
export async function touchKey(db: Queryable, tenantId: TenantId, id: ApiKeyId): Promise<void> {
  await db.execute(sql`
    update api_key set last_used_at = now()
    where tenant_id = ${tenantId} and id = ${id}
      and (last_used_at is null or last_used_at < now() - interval '1 minute')`)
}

/**
 * Stores the operator's own key. The same key again changes nothing, not even that it was revoked; another one takes its
 * place and is live.
 */
export async function putBootstrapKey(db: Queryable, tenantId: TenantId, key: NewApiKey): Promise<void> {
  await db.execute(sql`
    with put as (
      insert into api_key as k (id, tenant_id, public_id, secret_sha256, name, scopes)
      values (${key.id}, ${tenantId}, ${BOOTSTRAP_PUBLIC_ID}, ${key.secretSha256}, ${key.name}, ${[...key.scopes]}::text[])
      on conflict (public_id) do update
        set secret_sha256 = excluded.secret_sha256, revoked_at = null, expires_at = null
        where k.secret_sha256 <> excluded.secret_sha256
      returning public_id
    )
    select pg_notify(${API_KEY_CHANNEL}, public_id) from put`)
}

/** The first key of an installation. False when there is one already, of whatever kind. */
export async function insertFirstKey(tx: Tx, tenantId: TenantId, key: NewApiKey): Promise<boolean> {
  // Two supervisors that start at once must not both print a key.
  await tx.execute(sql`lock table api_key in share row exclusive mode`)
  const inserted = await tx.execute(sql`
    insert into api_key (id, tenant_id, public_id, secret_sha256, name, scopes)
    select ${key.id}::uuid, ${tenantId}::uuid, ${key.publicId}, ${key.secretSha256}::bytea, ${key.name},
      ${[...key.scopes]}::text[]
    where not exists (select from api_key)`)
  return inserted === 1
}
