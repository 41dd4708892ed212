/** Begins one connection of a session: credentials under the epoch, a journal, the provider. */
import { AppError } from '../../kernel/errors.js'
import type { Logger } from '../../kernel/logger.js'
import type { Lease } from '../../platform/leases/lease.js'
import { sealFor } from '../tenants/data-keys.js'
import { findRaw, loadCredentials, pairingCodePlace, qrPlace } from './credentials.js'
import { insist } from './insist.js'
import type { InstanceRef } from './instance.js'
import { type LiveConnection, openLiveConnection } from './live-connection.js'
import type { SessionAttachment } from './session-attachment.js'
import type { SessionDeps } from './session-deps.js'
import type { SessionRecord } from './session-record.js'

export interface ConnectRequest {
  readonly owner: InstanceRef
  readonly lease: Lease
  readonly name: string
  readonly provider: string
  readonly record: SessionRecord
  readonly attachments: readonly SessionAttachment[]
  readonly logger: Logger
  /** Ends the waiting for a database that is away. */
  readonly signal: AbortSignal
  readonly onAlive: () => void
  readonly onStable: () => void
}

/** A connection that could not even begin, and what that counts as. */
export class CannotConnect extends Error {
  readonly reason: 'BAD_CREDENTIALS' | 'CONNECTION_LOST'

  constructor(reason: CannotConnect['reason'], cause: unknown) {
    super(reason, { cause })
    this.name = 'CannotConnect'
    this.reason = reason
  }
}

/**
 * Throws CannotConnect, FencedError, or the database's error once `signal` has aborted. Credentials that cannot be opened
 * are left as they are: fail closed, for the operator's key may be the wrong one.
 */
export async function connectSession(deps: SessionDeps, request: ConnectRequest): Promise<LiveConnection> {
  const { db, dataKeys, journals, clock, times } = deps
  const { owner, lease, record, attachments, logger, onAlive, onStable } = request
  const provider = deps.providers.get(request.provider)
  if (!provider) throw new CannotConnect('CONNECTION_LOST', new Error(`no provider ${request.provider}`))
  const { credentials, key } = await insist(() => load(deps, request), { ...deps, ...request })
  const journal = await journals.open(lease, owner)
  try {
    return await openLiveConnection({
      ...times,
      owner,
      lease,
      journal,
      record,
      attachments,
      clock,
      logger,
      onAlive,
      onStable,
      sealQr: (code) => sealFor(key, qrPlace(owner), Buffer.from(code)),
      sealPairingCode: (code) => sealFor(key, pairingCodePlace(owner), Buffer.from(code)),
      connect: (onEvent) =>
        provider.connect({
          instanceId: owner.instanceId,
          displayName: request.name,
          credentials,
          journal,
          logger,
          onEvent,
          findSent: (whatsappId) => deps.findSent(owner.tenantId, owner.instanceId, whatsappId),
          findRaw: (encHash) => findRaw(db, dataKeys, owner, encHash),
        }),
    })
  } catch (error) {
    journal.abandon()
    throw new CannotConnect('CONNECTION_LOST', error)
  }
}

async function load({ db, dataKeys }: SessionDeps, { owner, lease }: ConnectRequest) {
  try {
    const key = await dataKeys.dataKey(owner.tenantId, owner.instanceId)
    return { key, credentials: await loadCredentials(db, dataKeys, owner, lease) }
  } catch (error) {
    if (error instanceof AppError && error.code === 'encryption_key_mismatch')
      throw new CannotConnect('BAD_CREDENTIALS', error)
    throw error
  }
}
