/** The holder's side of the block list: blocks when it is asked to, and keeps what WhatsApp says of who is blocked. */
import { z } from 'zod'
import type { Clock } from '../../kernel/clock.js'
import { AppError } from '../../kernel/errors.js'
import { type ContactId, type IdGenerator, publicId } from '../../kernel/ids.js'
import { errorText, type Logger } from '../../kernel/logger.js'
import type { Random } from '../../kernel/random.js'
import type { Database } from '../../platform/database/database.js'
import { withFence } from '../../platform/leases/fence.js'
import { phoneFromWaId, type WhatsAppAddress, waIdFromPhone } from '../../platform/whatsapp/jid.js'
import type { BlockChange } from '../../platform/whatsapp/whatsapp.js'
import { findContacts } from '../contacts/contact-store.js'
import type { Identity } from '../contacts/recipient.js'
import { record } from '../events/record.js'
import { findLivingContact, saveBlocks } from './block-store.js'
import { insist } from './insist.js'
import type { SessionAttachment, SessionContext } from './session-attachment.js'

export interface BlockKeeperOptions {
  readonly db: Database
  readonly ids: IdGenerator
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
}

const order = z.object({ contactId: z.uuid(), blocked: z.boolean() })

export function createBlockKeeper(options: BlockKeeperOptions): SessionAttachment {
  const { db, ids, logger } = options
  return {
    async received(session, event) {
      if (event.type === 'blocks') await keep(session, event.changes, event.complete)
    },
    errands: {
      async set_block(session, args) {
        const { contactId, blocked } = order.parse(args)
        const person = await addressOf(session, contactId as ContactId)
        if (!session.connection.setBlocked) throw new AppError('not_supported')
        try {
          await session.connection.setBlocked(person, blocked)
        } catch (error) {
          logger.warn('SESSION', 'WhatsApp does not block', { instance: session.instanceId, error: errorText(error) })
          throw new AppError('whatsapp_unanswered', { detail: 'WhatsApp did not confirm it.', cause: error })
        }
        await keep(session, [{ person, blocked }], false)
        return {}
      },
    },
  }

  async function addressOf({ tenantId }: SessionContext, contactId: ContactId): Promise<WhatsAppAddress> {
    const living = await findLivingContact(db, tenantId, contactId)
    const [row] = living ? await findContacts(db, tenantId, [living]) : []
    const waId = row?.waId ?? (row?.phone ? waIdFromPhone(row.phone) : undefined)
    if (!row || !(waId || row.lid)) throw new AppError('not_found', { detail: 'This contact has no address.' })
    return { ...(waId ? { waId } : {}), ...(row.lid ? { lid: row.lid } : {}) }
  }

  async function keep(session: SessionContext, changes: readonly BlockChange[], complete: boolean): Promise<void> {
    const { tenantId, instanceId, lease } = session
    const said = changes.flatMap(({ person, blocked }) =>
      identitiesOf(person).map((identity) => ({ identity, blocked })),
    )
    await insist(
      () =>
        withFence(db, lease, async (tx) => {
          const moves = await saveBlocks(tx, session, said, complete)
          const events = moves.map(({ contactId, blocked }) => ({
            id: ids.next('evt'),
            tenantId,
            type: 'contact.updated' as const,
            instanceId,
            subjectId: contactId,
            data: { reason: blocked ? 'blocked' : 'unblocked', instanceId: publicId('ins', instanceId) },
          }))
          if (events.length > 0) await record(tx, events)
        }),
      { ...options, signal: lease.signal },
    )
  }
}

function identitiesOf({ waId, lid }: WhatsAppAddress): Identity[] {
  return [
    ...(waId ? [{ kind: 'phone', value: phoneFromWaId(waId) } as const] : []),
    ...(lid ? [{ kind: 'lid', value: lid } as const] : []),
  ]
}
