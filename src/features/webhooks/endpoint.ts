/** Webhook endpoints: URLs of a tenant that want its events. Their secrets are stored sealed and shown once. */
import type { InstanceId, TenantId, WebhookId } from '../../kernel/ids.js'
import type { PublicEventType } from '../events/event.js'
import type { DataKeys } from '../tenants/data-keys.js'
import type { Circuit } from './circuit.js'

export interface Endpoint {
  readonly id: WebhookId
  readonly tenantId: TenantId
  /** Null: events of all instances, and those of none. */
  readonly instanceId: InstanceId | null
  readonly url: string
  /** Null: all public types. */
  readonly events: readonly PublicEventType[] | null
  readonly format: 'standard'
  /** The deliveries of one chat follow one another. */
  readonly ordered: boolean
  readonly enabled: boolean
  /** Why Mirante disabled it; null when its owner did, or when it is enabled. */
  readonly disabledReason: string | null
  readonly secrets: SealedSecrets
  readonly circuit: Circuit
  readonly createdAt: Date
  readonly updatedAt: Date
}

export interface SealedSecrets {
  readonly current: Buffer
  /** The secret before the last rotation, and until when it signs too. */
  readonly old: Buffer | null
  readonly oldUntil: Date | null
}

/** Why Mirante disabled an endpoint: it answered 410, or it failed for days. */
export type DisabledReason = 'gone' | 'failing'

/** How long the old secret signs beside the new one: where nothing is asked for, and at most. */
export const rotationOverlapHours = { default: 24, max: 168 } as const

/** Opened, what signs now: the current secret first. */
export async function signingSecrets(
  dataKeys: DataKeys,
  endpoint: Pick<Endpoint, 'id' | 'tenantId' | 'secrets'>,
  nowMs: number,
): Promise<string[]> {
  const { current, old, oldUntil } = endpoint.secrets
  const sealed = old && oldUntil && oldUntil.getTime() > nowMs ? [current, old] : [current]
  return Promise.all(sealed.map((secret) => openSecret(dataKeys, endpoint, secret)))
}

export const sealSecret = (
  dataKeys: DataKeys,
  { tenantId, id }: Pick<Endpoint, 'id' | 'tenantId'>,
  secret: string,
): Promise<Buffer> => dataKeys.sealForTenant(tenantId, SECRET_KIND, id, Buffer.from(secret))

const SECRET_KIND = 'webhook-secret'

async function openSecret(
  dataKeys: DataKeys,
  { tenantId, id }: Pick<Endpoint, 'id' | 'tenantId'>,
  sealed: Buffer,
): Promise<string> {
  return (await dataKeys.openForTenant(tenantId, SECRET_KIND, id, sealed)).toString()
}
