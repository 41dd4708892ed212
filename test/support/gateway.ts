/** A gateway over a test database and a WhatsApp that the test plays: real leases, real journal, real supervisor. */
import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import sql from 'sql-template-tag'
import { type ChangeInstance, createChangeInstance } from '../../src/features/instances/change-instance.js'
import { createJournalWriter } from '../../src/features/instances/journal.js'
import { createNews, type News } from '../../src/features/instances/news.js'
import { defaultReconnectPolicy, type ReconnectPolicy } from '../../src/features/instances/reconnect-policy.js'
import type { SessionAttachment } from '../../src/features/instances/session-attachment.js'
import { defaultSessionTimes, type OnDeleted, type SessionTimes } from '../../src/features/instances/session-deps.js'
import { createSupervisor, type Supervisor } from '../../src/features/instances/supervisor.js'
import type { DataKeys } from '../../src/features/tenants/data-keys.js'
import { systemClock } from '../../src/kernel/clock.js'
import { createIdGenerator, type InstanceId } from '../../src/kernel/ids.js'
import { silentLogger } from '../../src/kernel/logger.js'
import type { Database } from '../../src/platform/database/database.js'
import { type Incarnation, leaseTerms } from '../../src/platform/leases/lease.js'
import { createLeaseKeeper } from '../../src/platform/leases/lease-keeper.js'
import { createLeaseStore } from '../../src/platform/leases/lease-store.js'
import { createFakeWhatsapp, type FakeWhatsapp } from '../../src/platform/whatsapp/fake/fake-whatsapp.js'
import type { Provider } from '../../src/platform/whatsapp/whatsapp.js'

export interface GatewayOptions {
  readonly db: Database
  readonly dataKeys: DataKeys
  /** Default: a WhatsApp that the test plays. */
  readonly provider?: Provider
  readonly attachments?: readonly SessionAttachment[]
  readonly times?: Partial<SessionTimes>
  readonly policy?: Partial<ReconnectPolicy>
  /** Default: as in the product. */
  readonly leaseTtlMs?: number
  readonly commandDeadlineMs?: number
  readonly onDeleted?: OnDeleted
  /** Default: as in the product. */
  readonly createKeeper?: typeof createLeaseKeeper
  /** A process that is alive in the database. Default: a holder without a row there, known by the TTL alone. */
  readonly process?: { readonly holder: Incarnation; readonly replica: string }
  readonly capacity?: number
}

export interface Gateway {
  readonly whatsapp: FakeWhatsapp
  readonly supervisor: Supervisor
  readonly news: News
  readonly change: ChangeInstance
  stop(): Promise<void>
}

/** Reconnects in milliseconds; attempts as in the product. */
const HASTY: Partial<ReconnectPolicy> = { baseMs: 1, maxMs: 5, jitterMs: 1 }

export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  const {
    db,
    dataKeys,
    provider,
    attachments = [],
    times,
    policy,
    leaseTtlMs = 45_000,
    commandDeadlineMs = 30_000,
    onDeleted,
    createKeeper = createLeaseKeeper,
    process,
    capacity,
  } = options
  const hooks = onDeleted ? { onDeleted } : {}
  const whatsapp = createFakeWhatsapp()
  const ids = createIdGenerator()
  const news = createNews({ db, clock: systemClock })
  const supervisor = createSupervisor({
    db,
    dataKeys,
    journals: createJournalWriter({ db, dataKeys, clock: systemClock }),
    providers: new Map([['baileys', provider ?? whatsapp.provider]]),
    attachments,
    findSent: async () => undefined,
    clock: systemClock,
    random: Math.random,
    ids,
    logger: silentLogger,
    times: { ...defaultSessionTimes, ...times },
    reconnectPolicy: { ...defaultReconnectPolicy, ...HASTY, ...policy },
    createKeeper,
    ...hooks,
    leases: {
      store: createLeaseStore(db, { advisoryLocks: process !== undefined }),
      holder: process?.holder ?? (randomUUID() as Incarnation),
      terms: leaseTerms(leaseTtlMs),
    },
    rehydration: { jitterMs: 1 },
    ...(process && { replica: process.replica }),
    ...(capacity !== undefined && { capacity }),
  })
  await news.start()
  await supervisor.start()
  return {
    whatsapp,
    supervisor,
    news,
    change: createChangeInstance({ db, ids, clock: systemClock, news, commandDeadlineMs, ...hooks }),
    async stop() {
      await supervisor.stop()
      await news.stop()
    },
  }
}

export interface StatusRow {
  readonly enabled: boolean
  readonly status: string
  readonly reason: string | null
  readonly phone: string | null
  readonly attempt: number
  readonly retryInMs: number | null
}

export async function statusOf(db: Database, instanceId: InstanceId): Promise<StatusRow> {
  const [row] = await db.query<StatusRow>(sql`
    select enabled, connection_status as status, reason, phone, reconnect_attempt as attempt,
      (extract(epoch from reconnect_at - now()) * 1000)::int as "retryInMs"
    from instance where id = ${instanceId}`)
  if (!row) throw new Error('no such instance')
  return row
}

/** `STATUS/REASON` of each status event, and the type of every other, in the order in which they were recorded. */
export async function storyOf(db: Database, instanceId: InstanceId): Promise<string[]> {
  const rows = await db.query<{ type: string; status: string | null; reason: string | null }>(sql`
    select type, data ->> 'connectionStatus' as status, data ->> 'reason' as reason
    from event where instance_id = ${instanceId} order by seq`)
  return rows.map(({ type, status, reason }) =>
    type === 'instance.status_changed' ? [status, reason].filter(Boolean).join('/') : type,
  )
}

/** Waits for a condition, and fails after a deadline that no passing run comes near. */
export async function until<Value>(look: () => Value | Promise<Value>, what = 'a condition'): Promise<Value> {
  const deadline = performance.now() + 60_000
  for (;;) {
    const value = await look()
    if (value) return value
    if (performance.now() > deadline) throw new Error(`waited in vain for ${what}`)
    await delay(5)
  }
}

/** Waits until the instance has this `STATUS` or `STATUS/REASON`. */
export async function untilStatus(db: Database, instanceId: InstanceId, expected: string): Promise<StatusRow> {
  let last = ''
  return until(async () => {
    const row = await statusOf(db, instanceId)
    last = row.reason ? `${row.status}/${row.reason}` : row.status
    return last === expected ? row : undefined
  }, expected).catch((error: unknown) => {
    throw new Error(`the status is ${last}, not ${expected}`, { cause: error })
  }) as Promise<StatusRow>
}
