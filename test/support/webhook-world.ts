/** Webhooks and events as compose wires them, on a database of its own: routes, workers, and a receiver to call. */

import { randomBytes, randomUUID } from 'node:crypto'
import sql from 'sql-template-tag'
import type { NewEvent, RecordedEvent } from '../../src/features/events/event.js'
import { eventRoutes } from '../../src/features/events/event-routes.js'
import { createEventView, describeAsRecorded, type EventDescriber } from '../../src/features/events/event-view.js'
import { createLiveEvents } from '../../src/features/events/live-events.js'
import { record } from '../../src/features/events/record.js'
import { createDataKeys, kekOf } from '../../src/features/tenants/data-keys.js'
import { createDeadLetterRecorder, describeJobEvents } from '../../src/features/webhooks/dead-letters.js'
import { createDeliverWebhook } from '../../src/features/webhooks/deliver-webhook.js'
import { createDeliveryGate } from '../../src/features/webhooks/delivery-gate.js'
import { deliveryRoutes } from '../../src/features/webhooks/delivery-routes.js'
import { createFanOut, fanOutPolicy } from '../../src/features/webhooks/fan-out.js'
import { createReleaseDeliveries } from '../../src/features/webhooks/release-deliveries.js'
import { createReplayDeliveries } from '../../src/features/webhooks/replay-deliveries.js'
import { replayRoutes } from '../../src/features/webhooks/replay-routes.js'
import { deliverWebhookPolicy } from '../../src/features/webhooks/retry-schedule.js'
import { webhookRoutes } from '../../src/features/webhooks/webhook-routes.js'
import { describeWebhookEvents } from '../../src/features/webhooks/webhook-view.js'
import { systemClock } from '../../src/kernel/clock.js'
import { AppError } from '../../src/kernel/errors.js'
import { createIdGenerator, type EventId, type TenantId } from '../../src/kernel/ids.js'
import type { LogFields, Logger } from '../../src/kernel/logger.js'
import { readerOf } from '../../src/platform/database/reader.js'
import { createEgress, type Egress } from '../../src/platform/egress/http-client.js'
import type { Auth, Scope } from '../../src/platform/http/route.js'
import { scopes } from '../../src/platform/http/route.js'
import { createHttpServer } from '../../src/platform/http/server.js'
import { createJobs } from '../../src/platform/jobs/create-jobs.js'
import { createPostgresDispatcher } from '../../src/platform/jobs/dispatch/postgres.js'
import type { JobHandler } from '../../src/platform/jobs/jobs.js'
import { createTestDatabase } from './database.js'
import { eventually } from './eventually.js'
import { buildTenant } from './factories.js'

const HOUR_MS = 3_600_000

export interface ApiAnswer {
  readonly status: number
  readonly headers: Headers
  // biome-ignore lint/suspicious/noExplicitAny: an answer's shape is what a test asserts
  readonly body: any // oxlint-disable-line typescript/no-explicit-any
}

export interface WorkerOverrides {
  readonly egress?: Pick<Egress, 'post'>
}

export type WebhookWorld = Awaited<ReturnType<typeof createWebhookWorld>>

/** @param describeMessages what message events show; default: their recorded data. */
export async function createWebhookWorld({
  describeMessages = describeAsRecorded,
}: {
  describeMessages?: EventDescriber
} = {}) {
  const database = await createTestDatabase()
  const { db } = database
  const ids = createIdGenerator()
  const keys = new Map<string, Auth>()
  const lines: string[] = []
  const logger = collectingLogger(lines)
  const egress = createEgress({ allow: ['127.0.0.0/8'], clock: systemClock })
  const dataKeys = createDataKeys({ db, kek: kekOf(randomBytes(32)) })
  const show = createEventView({
    describers: {
      message: describeMessages,
      media: describeAsRecorded,
      instance: describeAsRecorded,
      call: describeAsRecorded,
      group: describeAsRecorded,
      contact: describeAsRecorded,
      job: describeJobEvents,
      webhook: describeWebhookEvents,
    },
  })
  const common = { db, ids, clock: systemClock, random: Math.random, logger }
  const live = createLiveEvents({ ...common, show })
  const jobs = createJobSystem()
  const server = createHttpServer({
    logger,
    version: '0.0.0',
    host: '127.0.0.1',
    port: 0,
    authenticate: async (key) => {
      const auth = keys.get(key)
      if (!auth) throw new AppError('unauthenticated')
      return auth
    },
    idempotency: {
      db,
      vault: {
        seal: (tenantId, id, plaintext) => dataKeys.sealForTenant(tenantId, 'idempotency', id, plaintext),
        open: (tenantId, id, sealed) => dataKeys.openForTenant(tenantId, 'idempotency', id, sealed),
      },
    },
    modules: [
      webhookRoutes({ ...common, jobs, egress, dataKeys }),
      replayRoutes({ ...common, jobs }),
      deliveryRoutes({ db, reader: readerOf(db) }),
      eventRoutes({ db, show, live }),
    ],
  })
  await live.start()
  await server.start()
  const tenantId = await buildTenant(db)
  const key = keyOf(tenantId)

  return {
    db,
    ids,
    jobs,
    show,
    tenantId,
    key,
    keyOf,
    api,
    lines,
    url: server.url ?? '',
    startWorker,
    recordEvent,
    recordEvents,
    makeDue,
    async stop() {
      await live.stop()
      await server.stop()
      await egress.close()
      await database.drop()
    },
  }

  /** A key of this tenant. */
  function keyOf(tenant: TenantId, only: readonly Scope[] = scopes): string {
    const made = `key-${randomUUID()}`
    keys.set(made, { tenantId: tenant, keyId: ids.next('key'), scopes: new Set(only) })
    return made
  }

  async function api(
    method: string,
    path: string,
    { body, as = key, headers = {} }: { body?: unknown; as?: string; headers?: Record<string, string> } = {},
  ): Promise<ApiAnswer> {
    const response = await fetch(`${server.url}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${as}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    const text = await response.text()
    return { status: response.status, headers: response.headers, body: text === '' ? undefined : JSON.parse(text) }
  }

  function createJobSystem() {
    return createJobs({
      ...common,
      dispatcher: createPostgresDispatcher(db),
      incarnation: randomUUID(),
      advisoryLocks: true,
      leadership: { isLeader: () => false },
      policies: { 'fan-out': fanOutPolicy, 'deliver-webhook': deliverWebhookPolicy },
      onDead: createDeadLetterRecorder({ ids }),
      drainMs: 100,
    })
  }

  /** A worker process: it is not in the table of processes, so others take it for dead and take its jobs over. */
  async function startWorker(overrides: WorkerOverrides = {}) {
    const system = createJobSystem()
    system.work('fan-out', createFanOut({ ...common, jobs: system, show }))
    const deliver = { ...common, jobs: system, egress, dataKeys, show, gate: createDeliveryGate(common), ...overrides }
    system.work('deliver-webhook', notByItself(createDeliverWebhook(deliver)))
    system.work('release-deliveries', createReleaseDeliveries({ ...common, jobs: system }))
    system.work('replay-deliveries', createReplayDeliveries({ ...common, jobs: system }))
    await system.runner.start()
    return system.runner
  }

  async function recordEvent(event: Partial<NewEvent> = {}): Promise<EventId> {
    const id = event.id ?? ids.next('evt')
    await recordEvents([{ ...event, id }])
    return id
  }

  /** At one instant. */
  async function recordEvents(events: readonly Partial<NewEvent>[]): Promise<void> {
    const defaults = { tenantId, type: 'message.received', instanceId: null, subjectId: null, data: {} } as const
    const whole = events.map((event) => ({ id: ids.next('evt'), ...defaults, ...event }))
    await db.tx((tx) => record(tx, whole))
  }

  /** Lets the time pass that jobs, and the probes of circuits, wait for, once none is running. */
  async function makeDue(): Promise<void> {
    const running = sql`select from job where state = 'running'`
    await eventually(async () => (await db.query(running)).length === 0, 'no job is running')
    await db.execute(sql`update endpoint_circuit set probe_at = now() where probe_at is not null`)
    await db.execute(sql`
      with due as (update job set due_at = now() where state = 'ready' returning kind)
      select pg_notify('mirante_job', kind) from (select distinct kind from due) k`)
  }
}

/** The second try is due in seconds, and a busy machine may need them for a test's next line: only `makeDue` brings it. */
function notByItself(handler: JobHandler): JobHandler {
  return async (job, signal) => {
    const fate = await handler(job, signal)
    return fate.fate === 'retry' ? { ...fate, afterMs: Math.max(fate.afterMs ?? 0, HOUR_MS) } : fate
  }
}

/** A describer for tests that need to see, or to choose, what is described. */
export const describeWith =
  (describe: (event: RecordedEvent) => unknown): EventDescriber =>
  async (_tenantId, events) =>
    new Map(events.map((event) => [event.id, describe(event)]))

function collectingLogger(lines: string[], bound: LogFields = {}): Logger {
  const add = (_category: string, message: string, fields: LogFields = {}): void => {
    lines.push(`${message} ${JSON.stringify({ ...bound, ...fields })}`)
  }
  return {
    debug: add,
    info: add,
    warn: add,
    error: add,
    child: (fields) => collectingLogger(lines, { ...bound, ...fields }),
  }
}
