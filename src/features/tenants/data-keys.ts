/**
 * Data keys: one per instance for its credentials, one per tenant for its other secrets, each wrapped by the operator's key
 * (KEK). Changing the operator's key rewraps them one by one as they are used and touches no sealed value.
 *
 * Promises: the same key for the same id in every process, for ever; with a wrong operator's key every call fails with
 * `encryption_key_mismatch` and nothing is overwritten. A key is always made in a transaction of its own: one that was
 * handed out and then rolled back would take what it sealed with it. So ask before you open yours.
 */
import { newKey, open, seal, sha256 } from '../../kernel/crypto.js'
import { AppError } from '../../kernel/errors.js'
import type { TenantId } from '../../kernel/ids.js'
import type { Database } from '../../platform/database/database.js'
import { findDataKey, insertDataKey, rewrapDataKey, sampleDataKeys, type WrappedKey } from './data-key-store.js'

/** A key-encryption key of the operator's. */
export interface Kek {
  readonly id: string
  /** 32 bytes. */
  readonly key: Buffer
}

/** A KEK with an id made from the key itself, so that the same key has the same id everywhere. */
export const kekOf = (key: Buffer): Kek => ({
  id: sha256(Buffer.concat([Buffer.from('mirante kek '), key]))
    .toString('hex')
    .slice(0, 16),
  key,
})

/** Where a sealed value belongs. A value that was moved to another row does not open. */
export interface SealedPlace {
  readonly tenantId: TenantId
  /** Null for what belongs to the tenant as a whole. */
  readonly instanceId: string | null
  /** Such as `creds` or `webhook-secret`; without `|`. */
  readonly kind: string
  readonly id: string
}

/** Seals with a data key, bound to its place. */
export const sealFor = (dataKey: Buffer, place: SealedPlace, plaintext: Uint8Array): Buffer =>
  seal(dataKey, plaintext, additionalData(place))

/** Opens what `sealFor` made for this very place. Throws `encryption_key_mismatch` on anything else. */
export function openFor(dataKey: Buffer, place: SealedPlace, sealed: Uint8Array): Buffer {
  try {
    return open(dataKey, sealed, additionalData(place))
  } catch (cause) {
    throw new AppError('encryption_key_mismatch', { cause })
  }
}

export interface DataKeysOptions {
  readonly db: Database
  readonly kek: Kek
  /** Still accepted; what they wrapped is rewrapped with `kek` when it is next used. */
  readonly previousKeks?: readonly Kek[]
}

export interface DataKeys {
  /**
   * The data key of this instance (or of this tenant, by its own id), made when there is none. Rejects with
   * `encryption_key_mismatch` when no operator's key fits.
   */
  dataKey(tenantId: TenantId, id: string): Promise<Buffer>
  /** `sealFor` with the tenant's own data key. */
  sealForTenant(tenantId: TenantId, kind: string, id: string, plaintext: Uint8Array): Promise<Buffer>
  openForTenant(tenantId: TenantId, kind: string, id: string, sealed: Uint8Array): Promise<Buffer>
  /** Rejects with `encryption_key_mismatch` when a stored key cannot be unwrapped. For start-up: better now than later. */
  verify(): Promise<void>
}

export function createDataKeys({ db, kek, previousKeks = [] }: DataKeysOptions): DataKeys {
  const known = new Map<string, Promise<Buffer>>()
  return {
    dataKey,
    async sealForTenant(tenantId, kind, id, plaintext) {
      return sealFor(await dataKey(tenantId, tenantId), { tenantId, instanceId: null, kind, id }, plaintext)
    },
    async openForTenant(tenantId, kind, id, sealed) {
      return openFor(await dataKey(tenantId, tenantId), { tenantId, instanceId: null, kind, id }, sealed)
    },
    async verify() {
      for (const sample of await sampleDataKeys(db)) unwrap(sample.tenantId, sample.id, sample)
    },
  }

  function dataKey(tenantId: TenantId, id: string): Promise<Buffer> {
    const cacheKey = `${tenantId}|${id}`
    const cached = known.get(cacheKey)
    if (cached) return cached
    const loading = findOrMake(tenantId, id)
    known.set(cacheKey, loading)
    loading.catch(() => known.delete(cacheKey))
    return loading
  }

  async function findOrMake(tenantId: TenantId, id: string): Promise<Buffer> {
    const stored = (await findDataKey(db, tenantId, id)) ?? (await make(tenantId, id))
    const key = unwrap(tenantId, id, stored)
    if (stored.kekId !== kek.id) await rewrapDataKey(db, tenantId, id, { from: stored, to: wrap(tenantId, id, key) })
    return key
  }

  async function make(tenantId: TenantId, id: string): Promise<WrappedKey> {
    await insertDataKey(db, tenantId, id, wrap(tenantId, id, newKey()))
    const stored = await findDataKey(db, tenantId, id)
    // The id exists, but under another tenant: never hand out a foreign key.
    if (!stored) throw new AppError('internal', { cause: new Error('data key belongs to another tenant') })
    return stored
  }

  function wrap(tenantId: TenantId, id: string, key: Buffer): WrappedKey {
    return { kekId: kek.id, wrapped: seal(kek.key, key, wrapData(tenantId, id, kek.id)) }
  }

  function unwrap(tenantId: TenantId, id: string, { kekId, wrapped }: WrappedKey): Buffer {
    const fitting = [kek, ...previousKeks].find((candidate) => candidate.id === kekId)
    if (!fitting) throw new AppError('encryption_key_mismatch')
    try {
      return open(fitting.key, wrapped, wrapData(tenantId, id, kekId))
    } catch (cause) {
      throw new AppError('encryption_key_mismatch', { cause })
    }
  }
}

const wrapData = (tenantId: TenantId, id: string, kekId: string): string => `${tenantId}|${id}|${kekId}`

const additionalData = ({ tenantId, instanceId, kind, id }: SealedPlace): string =>
  `${tenantId}|${instanceId ?? '-'}|${kind}|${id}`
