/**
 * Signatures of Standard Webhooks 1.0.0, symmetric: HMAC-SHA256 over `id.timestamp.body`. A receiver accepts a delivery when
 * one of the signatures fits, so while a secret is being rotated the old and the new one both sign.
 */
import { randomBytes } from 'node:crypto'
import { hmacSha256 } from '../../kernel/crypto.js'

const SECRET_PREFIX = 'whsec_'
const SECRET_BYTES = 32

/** `whsec_` and the base64 of 32 random bytes. */
export const newSecret = (): string => SECRET_PREFIX + randomBytes(SECRET_BYTES).toString('base64')

export interface SignedContent {
  /** `webhook-id`. */
  readonly id: string
  /** `webhook-timestamp`: seconds since 1970. */
  readonly timestamp: number
  /** The very bytes that are sent. */
  readonly body: string
}

/** The value of `webhook-signature`: one `v1,<base64>` for each secret, separated by spaces. */
export function signatureOf({ id, timestamp, body }: SignedContent, secrets: readonly string[]): string {
  const signed = `${id}.${timestamp}.${body}`
  return secrets.map((secret) => `v1,${hmacSha256(keyOf(secret), signed).toString('base64')}`).join(' ')
}

function keyOf(secret: string): Buffer {
  if (!secret.startsWith(SECRET_PREFIX)) throw new TypeError('not a webhook secret')
  return Buffer.from(secret.slice(SECRET_PREFIX.length), 'base64')
}
