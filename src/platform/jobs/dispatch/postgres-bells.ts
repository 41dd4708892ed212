/** Rings by NOTIFY, which every gateway hears: the trigger on the message table sends them at commit. */
import type { InstanceId } from '../../../kernel/ids.js'
import type { Database } from '../../database/database.js'
import type { InstanceBells } from '../bells.js'

/** The payload is the instance's id. */
export const OUTBOUND_CHANNEL = 'mirante_outbound'

export function createPostgresBells(db: Pick<Database, 'listen'>): InstanceBells {
  let ring: (instanceId: InstanceId) => void = () => {}
  let onAny: () => void = () => {}
  let stopListening: (() => Promise<void>) | undefined

  return {
    onRing(ringOne, ringAny) {
      ring = ringOne
      onAny = ringAny
    },
    async start() {
      stopListening ??= await db.listen(OUTBOUND_CHANNEL, (id) => ring(id as InstanceId), onAny)
    },
    async stop() {
      await stopListening?.()
      stopListening = undefined
    },
  }
}
