/** Rings the sender of an instance when messages were accepted for it, in whatever process that was. */
import type { InstanceId } from '../../kernel/ids.js'
import type { Service } from '../../kernel/service.js'
import type { Database } from '../../platform/database/database.js'
import type { Sender } from './sender.js'

/** NOTIFY channel of the migration's trigger; the payload is the instance's id. */
const OUTBOUND_CHANNEL = 'mirante_outbound'

export function createOutboundListener({ db, sender }: { readonly db: Database; readonly sender: Sender }): Service {
  let stopListening: (() => Promise<void>) | undefined
  return {
    async start() {
      // After a reconnect anything may have been missed.
      stopListening = await db.listen(OUTBOUND_CHANNEL, (id) => sender.wake(id as InstanceId), sender.wakeAll)
    },
    async stop() {
      await stopListening?.()
      stopListening = undefined
    },
  }
}
