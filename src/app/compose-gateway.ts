/** The role gateway: numbers, their sockets, their sending and receiving. */
import { numberChecks } from '../features/instances/check-numbers.js'
import { createGroupErrands } from '../features/instances/group-errands.js'
import { createJournalWriter } from '../features/instances/journal.js'
import { createBlockKeeper } from '../features/instances/keep-blocks.js'
import { createCallReceiver } from '../features/instances/receive-calls.js'
import { defaultReconnectPolicy } from '../features/instances/reconnect-policy.js'
import { defaultSessionTimes } from '../features/instances/session-deps.js'
import { createSupervisor } from '../features/instances/supervisor.js'
import { abandonMessages } from '../features/messages/abandon-messages.js'
import { createChatErrands } from '../features/messages/chat-errands.js'
import { createIngest } from '../features/messages/ingest-message.js'
import { createLinkPreviews } from '../features/messages/link-preview.js'
import { createMediaDownloads } from '../features/messages/media-downloads.js'
import { createOutboundMedia } from '../features/messages/outbound-media.js'
import { createSender } from '../features/messages/sender.js'
import { createRawSweep } from '../features/messages/sweep-raw.js'
import type { Service } from '../kernel/service.js'
import { createLeaseKeeper } from '../platform/leases/lease-keeper.js'
import { createRedisMutex } from '../platform/leases/redis-mutex.js'
import type { Base } from './compose-base.js'
import type { Config } from './config.js'

export interface Gateway {
  readonly services: Service[]
  count(): { readonly held: number; readonly open: number; readonly capacity: number }
}

export function composeGateway(config: Config, base: Base): Gateway {
  const { db, clock, random, ids, logger, dataKeys, provider, overrides, leases } = base
  const crashPoint = overrides.crashPoint && { crashPoint: overrides.crashPoint }
  const media = createOutboundMedia({ db, storage: base.mediaStorage, dataKeys })
  const previews = createLinkPreviews({ egress: base.egress, clock })
  const sender = createSender({ db, addressBook: base.addressBook, media, previews, clock, ids, logger, ...crashPoint })
  const downloads = createMediaDownloads({
    ...{ db, ids, storage: base.mediaStorage, dataKeys, clock, logger, maxBytes: base.maxMediaBytes },
  })
  const ingest = createIngest({
    ...{ db, ids, addressBook: base.addressBook, dataKeys, clock, logger, onMedia: downloads.wake },
    ...crashPoint,
  })
  const calls = createCallReceiver({ db, addressBook: base.addressBook, ids, clock, random, logger })
  const blocks = createBlockKeeper({ db, ids, clock, random, logger })
  const sweep = createRawSweep({ db, ids, dataKeys, ingest, provider, clock, random, logger })
  const journals = createJournalWriter({ db, clock, dataKeys, ...crashPoint })
  const hint = base.redis && createRedisMutex({ redis: base.redis, terms: leases.terms, clock })
  const supervisor = createSupervisor({
    db,
    replica: config.replicaName,
    clock,
    random,
    ids,
    logger,
    leases,
    createKeeper: (options) => createLeaseKeeper({ ...options, ...leases, ...(hint && { hint }) }),
    dataKeys,
    journals: overrides.journals?.(journals) ?? journals,
    providers: new Map([[provider.name, provider]]),
    attachments: [
      sweep,
      ingest,
      sender,
      downloads,
      calls,
      blocks,
      numberChecks,
      createGroupErrands({ db, ids }),
      createChatErrands({ db }),
    ],
    findSent: media.findSent,
    times: defaultSessionTimes,
    reconnectPolicy: overrides.reconnectPolicy ?? defaultReconnectPolicy,
    onDeleted: abandonMessages,
    capacity: config.gatewayCapacity,
    siblings: base.role === 'gateway' ? config.gateways : 1,
    rehydration: { staggerMs: config.rehydrateStaggerMs },
  })
  base.bells.onRing(sender.wake, sender.wakeAll)
  return {
    services: [sweep, base.bells, supervisor],
    count: () => ({ ...supervisor.count(), capacity: config.gatewayCapacity }),
  }
}
