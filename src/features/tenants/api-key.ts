/**
 * API keys: `mir_<public id>_<secret>`. The public id finds the row, the secret (256 random bits) proves it; only its
 * SHA-256 is stored, so a key can be shown once. No slow hash: there is nothing to guess in 256 bits. Pure.
 */
import { randomBytes } from 'node:crypto'
import { sameBytes, sha256 } from '../../kernel/crypto.js'
import type { ApiKeyId, TenantId } from '../../kernel/ids.js'
import type { Scope } from '../../platform/http/route.js'

export interface ApiKey {
  readonly id: ApiKeyId
  readonly tenantId: TenantId
  /** The part of the key that may be shown. */
  readonly publicId: string
  readonly secretSha256: Buffer
  readonly name: string
  readonly scopes: readonly Scope[]
  readonly createdAt: Date
  readonly expiresAt: Date | null
  readonly revokedAt: Date | null
  readonly lastUsedAt: Date | null
}

/** The key that the operator chose; it has no parts, so all of it is the secret. */
export const BOOTSTRAP_PUBLIC_ID = 'bootstrap'
/** Characters that an operator's own key must have at least. */
export const MIN_BOOTSTRAP_LENGTH = 32

export interface NewSecret {
  readonly publicId: string
  readonly secretSha256: Buffer
  /** The whole key, in clear: to be shown once and never stored. */
  readonly clearKey: string
}

export function newSecret(random: (bytes: number) => Buffer = randomBytes): NewSecret {
  const publicId = random(8).toString('hex')
  const secret = random(32).toString('hex')
  return { publicId, secretSha256: sha256(secret), clearKey: `mir_${publicId}_${secret}` }
}

export interface PresentedKey {
  readonly publicId: string
  readonly secret: string
}

const KEY_PATTERN = /^mir_([0-9a-z]{1,64})_([\w-]{1,255})$/

/** The readings of what a caller presented, likeliest first: an operator's own key may look like one of ours. */
export function readKey(presented: string): PresentedKey[] {
  const [, publicId, secret] = KEY_PATTERN.exec(presented) ?? []
  const whole = { publicId: BOOTSTRAP_PUBLIC_ID, secret: presented }
  if (publicId === undefined || secret === undefined || publicId === BOOTSTRAP_PUBLIC_ID) return [whole]
  return [{ publicId, secret }, whole]
}

export const fits = (key: ApiKey, secret: string): boolean => sameBytes(key.secretSha256, sha256(secret))

/** Why a key whose secret fits is refused all the same; undefined when it is not. */
export function refusal({ revokedAt, expiresAt }: ApiKey, now: number): string | undefined {
  if (revokedAt) return 'This API key was revoked.'
  if (expiresAt && expiresAt.getTime() <= now) return 'This API key has expired.'
  return undefined
}
