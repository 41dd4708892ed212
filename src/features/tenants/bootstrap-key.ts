/** The first admin key of an installation: the operator's own, or one that is made once and shown once. */
import { sha256 } from '../../kernel/crypto.js'
import type { IdGenerator } from '../../kernel/ids.js'
import type { Database } from '../../platform/database/database.js'
import { BOOTSTRAP_PUBLIC_ID, MIN_BOOTSTRAP_LENGTH, newSecret } from './api-key.js'
import { insertFirstKey, putBootstrapKey } from './api-key-store.js'
import { ensureDefaultTenant } from './tenant-store.js'

export interface BootstrapOptions {
  readonly db: Database
  readonly ids: IdGenerator
  /** BOOTSTRAP_API_KEY. */
  readonly bootstrapKey: string | undefined
}

/**
 * Makes the default tenant and its first key. At every start, after the migrations. Returns the key in clear when one was
 * made just now: it is known nowhere else, so print it.
 */
export async function ensureFirstKey({ db, ids, bootstrapKey }: BootstrapOptions): Promise<string | undefined> {
  const tenantId = await ensureDefaultTenant(db)
  const first = { id: ids.next('key'), scopes: ['admin'], expiresAt: null } as const
  if (bootstrapKey !== undefined) {
    if (bootstrapKey.length < MIN_BOOTSTRAP_LENGTH) throw new RangeError('BOOTSTRAP_API_KEY is too short')
    const secretSha256 = sha256(bootstrapKey)
    await putBootstrapKey(db, tenantId, { ...first, publicId: BOOTSTRAP_PUBLIC_ID, secretSha256, name: 'bootstrap' })
    return undefined
  }
  const { clearKey, publicId, secretSha256 } = newSecret()
  const made = await db.tx((tx) =>
    insertFirstKey(tx, tenantId, { ...first, publicId, secretSha256, name: 'first key' }),
  )
  return made ? clearKey : undefined
}
