/** Reads the QR of an instance, waiting for a real one. */
import { AppError } from '../../kernel/errors.js'
import type { Database } from '../../platform/database/database.js'
import { type DataKeys, openFor } from '../tenants/data-keys.js'
import { qrPlace } from './credentials.js'
import { awaitsOwner, type InstanceRef } from './instance.js'
import { findQr, type QrRow } from './instance-store.js'
import type { News } from './news.js'

export interface ReadQrDeps {
  readonly db: Database
  readonly dataKeys: DataKeys
  readonly news: News
}

export interface ShownQr {
  readonly row: QrRow
  readonly code: string
}

/**
 * Resolves to the QR on show, or to 'connected' when none is needed. Throws `not_found`, `instance_disabled`, `qr_expired`
 * (nobody scanned), `session_ended` (WhatsApp has logged the number out), `instance_not_connected` (it gave up), and
 * `qr_unavailable` when none came in time.
 */
export async function readQr(deps: ReadQrDeps, owner: InstanceRef, timeoutMs: number): Promise<ShownQr | 'connected'> {
  const { db, dataKeys, news } = deps
  const { tenantId, instanceId } = owner
  const found = await news.until({
    channel: 'mirante_event',
    about: tenantId,
    timeoutMs,
    look: async () => judge(await db.tenantTx(tenantId, (tx) => findQr(tx, tenantId, instanceId))),
  })
  if (!found) throw new AppError('qr_unavailable')
  if (found === 'connected') return found
  const key = await dataKeys.dataKey(tenantId, instanceId)
  return { row: found.row, code: openFor(key, qrPlace(owner), found.sealed).toString() }
}

/** Undefined while a QR may still come. */
function judge(row: QrRow | undefined): { row: QrRow; sealed: Buffer } | 'connected' | undefined {
  if (!row) throw new AppError('not_found', { detail: 'No instance has this id.' })
  const { enabled, status, reason, sealed } = row
  if (!enabled) throw new AppError('instance_disabled')
  if (status === 'CONNECTED') return 'connected'
  if (awaitsOwner({ status, reason })) throw new AppError(status === 'QR_REQUIRED' ? 'qr_expired' : 'session_ended')
  if (status === 'DISCONNECTED') throw new AppError('instance_not_connected', { detail: 'It gave up: restart it.' })
  return sealed ? { row, sealed } : undefined
}
