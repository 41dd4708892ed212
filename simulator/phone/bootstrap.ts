import { deflateSync } from 'node:zlib'
import { proto } from 'baileys'
import type { Simulation } from '../simulation.js'
import type { Companion } from '../world/world.js'
import { appStateKeyOf } from './app-state.js'
import { historyChunks } from './history.js'
import { writeToOwnCompanion } from './write-message.js'

const { Type } = proto.Message.ProtocolMessage

/** After the first login the phone shares the key of the app state and its history (mostly none), so that nobody waits for it. */
export async function bootstrap(sim: Simulation, companion: Companion): Promise<void> {
  if (companion.hasBootstrapped) return
  companion.hasBootstrapped = true
  const keys = [appStateKeyOf(sim, companion.person)]
  const keyShare = { type: Type.APP_STATE_SYNC_KEY_SHARE, appStateSyncKeyShare: { keys } }
  await writeToOwnCompanion(sim, companion, { protocolMessage: keyShare })
  for (const chunk of historyChunks(sim, companion.person)) {
    await writeToOwnCompanion(sim, companion, { protocolMessage: notificationOf(chunk) })
  }
}

/** The chunk travels inside the message: no file, no download. */
function notificationOf(chunk: proto.IHistorySync): proto.Message.IProtocolMessage {
  return {
    type: Type.HISTORY_SYNC_NOTIFICATION,
    historySyncNotification: {
      // The two enumerations have the same numbers.
      syncType: chunk.syncType as unknown as proto.Message.HistorySyncType,
      chunkOrder: chunk.chunkOrder ?? 1,
      progress: chunk.progress ?? 100,
      initialHistBootstrapInlinePayload: deflateSync(proto.HistorySync.encode(chunk as proto.HistorySync).finish()),
    },
  }
}
