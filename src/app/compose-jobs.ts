/** The roles worker and scheduler: queued work and recurring work. */
import { forgetEvents } from '../features/events/forget-store.js'
import { deleteOldCommands } from '../features/instances/command-store.js'
import { deleteOldTombstones } from '../features/instances/credentials-store.js'
import { createFetchMedia } from '../features/messages/fetch-media.js'
import { purgeRaw } from '../features/messages/ingest-store.js'
import { purgeMemberReceipts } from '../features/messages/member-receipt-store.js'
import { purgeEarlyReceipts } from '../features/messages/receipt-store.js'
import { createSearchIndex } from '../features/messages/search-index.js'
import { forgetPlacement } from '../features/ops/lease-history-store.js'
import { createDeliverWebhook } from '../features/webhooks/deliver-webhook.js'
import { createDeliveryGate } from '../features/webhooks/delivery-gate.js'
import { createFanOut } from '../features/webhooks/fan-out.js'
import { createReleaseDeliveries, createReleaseSweep } from '../features/webhooks/release-deliveries.js'
import { createReplayDeliveries } from '../features/webhooks/replay-deliveries.js'
import { forgetDeliveries } from '../features/webhooks/retention.js'
import type { Service } from '../kernel/service.js'
import { deleteExpiredKeys } from '../platform/http/idempotency-store.js'
import type { Base } from './compose-base.js'

const RAW_RETENTION_DAYS = 7
const EVENT_RETENTION_DAYS = 30
const DAY_MS = 86_400_000

export function composeWorker(base: Base): Service[] {
  const { db, clock, random, ids, logger, jobs, egress, dataKeys, show } = base
  const gate = createDeliveryGate({ clock, random })
  jobs.work('fan-out', createFanOut({ db, jobs, show, ids }))
  const deliver = { db, jobs, egress, dataKeys, show, gate, clock, random, ids, logger }
  jobs.work('deliver-webhook', createDeliverWebhook(deliver))
  jobs.work('release-deliveries', createReleaseDeliveries({ db, jobs, clock }))
  jobs.work('replay-deliveries', createReplayDeliveries({ db, jobs, ids }))
  const { mediaStorage: storage, mediaEgress, maxMediaBytes: maxBytes } = base
  jobs.work('fetch-media', createFetchMedia({ db, ids, egress: mediaEgress, storage, clock, logger, maxBytes }))
  const closing = async () => void (await Promise.all([egress.close(), mediaEgress.close()]))
  return [{ start: async () => {}, stop: closing }, jobs.runner, createSearchIndex({ db, clock, random, logger })]
}

export function composeScheduler({ db, clock, jobs, leadership, relays }: Base): Service[] {
  jobs.cron('forget-idempotency-keys', '*/10 * * * *', async () => void (await deleteExpiredKeys(db)))
  jobs.cron('forget-raw-entries', '17 * * * *', async () => void (await purgeRaw(db, RAW_RETENTION_DAYS)))
  jobs.cron('forget-tombstones', '47 3 * * *', async () => void (await deleteOldTombstones(db)))
  jobs.cron('forget-early-receipts', '27 * * * *', async () => void (await purgeEarlyReceipts(db, RAW_RETENTION_DAYS)))
  jobs.cron('forget-member-receipts', '41 * * * *', async () => {
    await purgeMemberReceipts(db, new Date(clock.now() - EVENT_RETENTION_DAYS * DAY_MS))
  })
  jobs.cron('forget-commands', '37 * * * *', async () => void (await deleteOldCommands(db)))
  jobs.cron('forget-events', '7 4 * * *', async () => void (await forgetEvents(db, EVENT_RETENTION_DAYS)))
  jobs.cron('forget-placement', '13 4 * * *', () => forgetPlacement(db, EVENT_RETENTION_DAYS))
  jobs.cron('release-deliveries', '* * * * *', createReleaseSweep({ db, jobs }))
  jobs.cron('forget-deliveries', '57 * * * *', async (signal) => {
    await forgetDeliveries(db, clock.now(), signal)
  })
  return [leadership, ...relays, jobs.scheduler]
}
