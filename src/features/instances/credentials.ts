/** Credentials of an instance between the database and a provider: sealed there, open here, loaded under the epoch. */
import type { Database } from '../../platform/database/database.js'
import { FencedError } from '../../platform/leases/fence.js'
import type { Fence } from '../../platform/leases/lease.js'
import type { CredentialSnapshot } from '../../platform/whatsapp/whatsapp.js'
import { type DataKeys, openFor, type SealedPlace } from '../tenants/data-keys.js'
import { findSealedRaw, readCredentials } from './credentials-store.js'
import type { InstanceRef } from './instance.js'

/**
 * Loads what the next connection begins with. Throws FencedError when the lease is not ours any more, and
 * `encryption_key_mismatch` when something cannot be opened: fail closed, nothing is deleted and nothing paired anew.
 */
export async function loadCredentials(
  db: Database,
  dataKeys: DataKeys,
  owner: InstanceRef,
  fence: Fence,
): Promise<CredentialSnapshot> {
  const stored = await readCredentials(db, owner, fence)
  if (!stored) throw new FencedError(fence.resource)
  const key = await dataKeys.dataKey(owner.tenantId, owner.instanceId)
  const snapshot = new Map<string, Map<string, Buffer>>()
  for (const { kind, id, sealed } of stored) {
    const ofKind = snapshot.get(kind) ?? new Map<string, Buffer>()
    snapshot.set(kind, ofKind.set(id, openFor(key, credentialPlace(owner, kind, id), sealed)))
  }
  return snapshot
}

/** The raw entry of an encrypted payload that was received before: for a redelivery, and for the sweep. */
export async function findRaw(
  db: Database,
  dataKeys: DataKeys,
  owner: InstanceRef,
  encHash: Buffer,
): Promise<Buffer | undefined> {
  const sealed = await findSealedRaw(db, owner, encHash)
  if (!sealed) return undefined
  return openFor(await dataKeys.dataKey(owner.tenantId, owner.instanceId), rawPlace(owner, encHash), sealed)
}

export const credentialPlace = ({ tenantId, instanceId }: InstanceRef, kind: string, id: string): SealedPlace => ({
  tenantId,
  instanceId,
  kind: `credential:${kind}`,
  id,
})

export const rawPlace = ({ tenantId, instanceId }: InstanceRef, encHash: Buffer): SealedPlace => ({
  tenantId,
  instanceId,
  kind: 'inbound',
  id: encHash.toString('hex'),
})

export const qrPlace = ({ tenantId, instanceId }: InstanceRef): SealedPlace => ({
  tenantId,
  instanceId,
  kind: 'qr',
  id: instanceId,
})

export const pairingCodePlace = ({ tenantId, instanceId }: InstanceRef): SealedPlace => ({
  tenantId,
  instanceId,
  kind: 'pairing_code',
  id: instanceId,
})
