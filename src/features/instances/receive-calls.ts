/**
 * Turns calls into `call.received`, and rejects them where the owner wants that. A call that rang while we were away is told
 * too, and cannot be rejected any more. WhatsApp does not repeat a call that it has told us of, so one that comes in the very
 * moment in which its holder dies may stay untold.
 */
import type { Clock } from '../../kernel/clock.js'
import type { ContactId, EventId, IdGenerator, InstanceId, TenantId } from '../../kernel/ids.js'
import { publicId } from '../../kernel/ids.js'
import { errorText, type Logger } from '../../kernel/logger.js'
import type { Random } from '../../kernel/random.js'
import type { Database } from '../../platform/database/database.js'
import { withFence } from '../../platform/leases/fence.js'
import type { Call } from '../../platform/whatsapp/whatsapp.js'
import type { AddressBook } from '../contacts/address-book.js'
import { viewSubjects } from '../contacts/contact-view.js'
import type { RecordedEvent } from '../events/event.js'
import { record } from '../events/record.js'
import { insist } from './insist.js'
import { rejectsCalls } from './instance-store.js'
import type { SessionAttachment, SessionContext } from './session-attachment.js'
import { within } from './within.js'

export interface ReceiveCallsOptions {
  readonly db: Database
  readonly addressBook: AddressBook
  readonly ids: IdGenerator
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  /** WhatsApp has so long to confirm a rejection; what comes in behind the call waits meanwhile. @default 3,000 */
  readonly rejectTimeoutMs?: number
}

const MAX_REMEMBERED = 10_000

export function createCallReceiver(options: ReceiveCallsOptions): SessionAttachment {
  const { db, addressBook, ids, clock, random, logger, rejectTimeoutMs = 3_000 } = options
  /** Calls that were told of: WhatsApp offers one again on a new connection. */
  const known = new Set<string>()

  return {
    async received(session, event) {
      if (event.type === 'call') await receive(session, event.call)
    },
  }

  async function receive(session: SessionContext, call: Call): Promise<void> {
    const key = `${session.instanceId} ${call.callId}`
    if (known.has(key)) return
    const insistence = { clock, random, logger, signal: session.lease.signal }
    const wanted = await insist(() => rejectsCalls(db, session.tenantId, session.instanceId), insistence)
    const rejected = wanted && !call.offline && (await reject(session, call.callId))
    await insist(() => tell(session, call, rejected), insistence)
    remember(key)
  }

  async function reject({ connection, instanceId }: SessionContext, callId: string): Promise<boolean> {
    try {
      if (!connection.rejectCall) return false
      await within(clock, rejectTimeoutMs, connection.rejectCall(callId))
      return true
    } catch (error) {
      logger.warn('SESSION', 'a call could not be rejected', { instance: instanceId, error: errorText(error) })
      return false
    }
  }

  async function tell(session: SessionContext, call: Call, rejected: boolean): Promise<void> {
    const { tenantId, instanceId, lease } = session
    const { contactId } = await addressBook.chatAt(tenantId, instanceId, call.from)
    const { callId, video, groupJid = null, at, offline } = call
    await withFence(db, lease, (tx) =>
      record(tx, [
        {
          id: ids.next('evt'),
          tenantId,
          type: 'call.received',
          instanceId,
          subjectId: contactId,
          data: { callId, video, groupJid, at: at.toISOString(), offline, rejected },
        },
      ]),
    )
  }

  function remember(key: string): void {
    known.add(key)
    if (known.size <= MAX_REMEMBERED) return
    for (const oldest of known) return void known.delete(oldest)
  }
}

/** The call, with who called as the contact is now. */
export async function describeCallEvents(
  db: Database,
  tenantId: TenantId,
  events: readonly RecordedEvent[],
): Promise<ReadonlyMap<EventId, unknown>> {
  const contacts = await viewSubjects(db, tenantId, events)
  return new Map(
    events.map(({ id, subjectId, instanceId, data }) => {
      const contact = contacts.get(subjectId as ContactId) ?? null
      return [id, { instanceId: publicId('ins', instanceId as InstanceId), contact, ...data }]
    }),
  )
}
