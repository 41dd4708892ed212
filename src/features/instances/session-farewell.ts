/** The end of a deleted instance: the device is removed from the account, then its secrets and unsent messages go. */
import { errorText } from '../../kernel/logger.js'
import { withFence } from '../../platform/leases/fence.js'
import { purgeSecrets } from './credentials-store.js'
import { insist } from './insist.js'
import type { SessionAttachment } from './session-attachment.js'
import { type ConnectRequest, connectSession } from './session-connect.js'
import type { SessionDeps } from './session-deps.js'
import { markPurged } from './session-store.js'
import { within } from './within.js'

/** From connecting to WhatsApp's word that the device is removed. */
const FAREWELL_TIMEOUT_MS = 45_000

/** `loggedOut`: WhatsApp knows already. Throws FencedError, or the database's error once `request.signal` has aborted. */
export async function sayFarewell(deps: SessionDeps, request: ConnectRequest, loggedOut: boolean): Promise<void> {
  const { db } = deps
  const { lease, owner, record, logger } = request
  if (record.current.phone !== null && !loggedOut) await logOut(deps, request)
  await insist(
    () =>
      withFence(db, lease, async (tx) => {
        await purgeSecrets(tx, owner)
        await markPurged(tx, owner)
        await deps.onDeleted?.(tx, owner.tenantId, owner.instanceId)
      }),
    { ...deps, ...request },
  )
  logger.info('SESSION', 'deleted instance purged')
}

/** The owner has deleted it already: whether WhatsApp can be told is not waited for longer than a moment. */
async function logOut(deps: SessionDeps, request: ConnectRequest): Promise<void> {
  try {
    const connection = await connectSession(deps, { ...request, attachments: [logOutWhenOpen] })
    request.signal.addEventListener('abort', connection.close, { once: true })
    await within(deps.clock, FAREWELL_TIMEOUT_MS, connection.ended).catch(() => connection.close())
    await connection.ended
  } catch (error) {
    if (request.lease.signal.aborted) throw error
    request.logger.warn('SESSION', 'WhatsApp could not be told of the log-out', { error: errorText(error) })
  }
}

const logOutWhenOpen: SessionAttachment = {
  opened({ connection }) {
    connection.logout().catch(() => connection.terminate('CLOSED'))
  },
}
