/**
 * The gap report: after each reconnect, what had waited at WhatsApp and what of it is stored. To be asked when every message
 * that it speaks of has been ingested.
 */
import type { IdGenerator } from '../../kernel/ids.js'
import { publicId } from '../../kernel/ids.js'
import type { Database } from '../../platform/database/database.js'
import type { ConnectionEvent } from '../../platform/whatsapp/whatsapp.js'
import { record } from '../events/record.js'
import type { InstanceRef } from '../instances/instance.js'
import { countOpenRaw } from './ingest-store.js'

type CaughtUp = Extract<ConnectionEvent, { type: 'caught-up' }>

/** Records `instance.caught_up`. `missing` counts what never came and what came but could not be stored. */
export async function reportGap(
  { db, ids }: { readonly db: Database; readonly ids: IdGenerator },
  { tenantId, instanceId }: InstanceRef,
  { announced, received, unreadable }: CaughtUp,
): Promise<void> {
  await db.tx(async (tx) => {
    const unstored = Math.min(received, await countOpenRaw(tx, tenantId, instanceId))
    const data = {
      instanceId: publicId('ins', instanceId),
      announced,
      received,
      stored: received - unstored,
      unreadable,
      missing: Math.max(0, announced - received) + unstored,
    }
    await record(tx, [
      { id: ids.next('evt'), tenantId, type: 'instance.caught_up', instanceId, subjectId: instanceId, data },
    ])
  })
}
