/**
 * Health, for three kinds of askers. Balancers and orchestrators: `/startupz`, `/livez` (this process answers; nothing else is
 * asked, or a lost database would restart every replica) and `/readyz` (it can do its work: without the other servers it can,
 * if `degraded`, or all replicas would leave together). Monitors: `/health`, the whole as one word. People: `/api/health` and
 * `/api/memory/report`.
 */
import { getHeapStatistics } from 'node:v8'
import { z } from 'zod'
import type { Clock } from '../../kernel/clock.js'
import type { DependencyReport } from '../../kernel/dependency.js'
import { publicId, type TenantId } from '../../kernel/ids.js'
import type { Cache } from '../../platform/cache/cache.js'
import type { Database } from '../../platform/database/database.js'
import { type Authenticate, hasScope, presentedKey } from '../../platform/http/auth.js'
import type { App } from '../../platform/http/route.js'
import { type ConnectionStatus, connectionStatuses } from '../instances/instance.js'
import { type CheckResult, createDatabaseCheck, type DatabaseCheck } from './database-check.js'
import type { DependencyChecks } from './dependency-checks.js'
import { countInstancesByStatus, type InstanceHealthRow, listInstanceHealth } from './health-store.js'

export interface HealthRoutesDeps {
  readonly db: Database
  readonly clock: Clock
  readonly cache: Cache
  readonly dependencies: DependencyChecks
  readonly authenticate: Authenticate
  /** Whether this process has finished starting. */
  readonly isStarted: () => boolean
  /** Whether this process is on its way out and wants no new work. */
  readonly isDraining: () => boolean
  readonly version: string
  /** As in logs: `web`, or `all`. */
  readonly processName: string
}

const tags = ['Health']
const health = z.enum(['healthy', 'unhealthy'])
const checkView = z.object({ status: health, durationMs: z.number() })
const checksView = z
  .object({ database: checkView })
  .catchall(checkView)
  .meta({ description: 'The database, and each other server that is configured: `redis`, `rabbitmq`, …' })
const probeView = z.object({ status: z.string() })
const healthView = z.object({ status: health, checks: checksView })

export function healthRoutes(deps: HealthRoutesDeps): (app: App) => void {
  const checkDatabase = createDatabaseCheck(deps)
  return (app) => {
    addProbes(app, deps, checkDatabase)
    addHealth(app, deps, checkDatabase)
    addForcedCheck(app, deps, checkDatabase)
    addMemoryReport(app, deps)
  }
}

function addProbes(app: App, deps: HealthRoutesDeps, checkDatabase: DatabaseCheck): void {
  const { isStarted, isDraining, dependencies } = deps
  const config = { scope: 'public' } as const
  const response = { 200: probeView, 503: probeView }

  app.get('/livez', { config, schema: { tags, summary: 'This process answers', response } }, async () => ({
    status: 'alive',
  }))

  app.get('/startupz', { config, schema: { tags, summary: 'This process has started', response } }, async (_, reply) =>
    isStarted() ? { status: 'started' } : reply.code(503).send({ status: 'starting' }),
  )

  app.get('/readyz', { config, schema: { tags, summary: 'This process can work', response } }, async (_, reply) => {
    if (isDraining()) return reply.code(503).send({ status: 'draining' })
    if (!isStarted()) return reply.code(503).send({ status: 'starting' })
    const { status } = await checkDatabase()
    if (status !== 'healthy') return reply.code(503).send({ status: 'database_unavailable' })
    // Not waited for: a server that hangs would make balancers give up on every replica.
    return { status: othersOf(dependencies.known()).some(isDown) ? 'degraded' : 'ready' }
  })

  app.get(
    '/health',
    { config, schema: { tags, summary: 'All that Mirante needs', response: { 200: healthView, 503: healthView } } },
    async (_request, reply) => {
      const { status, checks } = await checkAll(deps, checkDatabase)
      return reply.code(status === 'healthy' ? 200 : 503).send({ status, checks })
    },
  )
}

/** As long as a count of instances may be shown again. */
const COUNTS_VALID_MS = 2_000

const countsView = z.object({
  total: z.number(),
  connected: z.number(),
  byStatus: z.record(z.enum(connectionStatuses), z.number()),
  ageMs: z.int().meta({ description: 'How long ago they were counted: dashboards that ask often share an answer.' }),
})

function addHealth(app: App, deps: HealthRoutesDeps, checkDatabase: DatabaseCheck): void {
  app.get(
    '/api/health',
    {
      config: { scope: 'public' },
      schema: {
        tags,
        summary: 'Health at a glance; always 200',
        description:
          'With a key that may read, the instances of its tenant are counted too; without one, `instances` is null.',
        response: {
          200: healthView.extend({ uptime: z.number(), version: z.string(), instances: countsView.nullable() }),
        },
      },
    },
    async (request) => {
      const all = await checkAll(deps, checkDatabase)
      const key = all.checks.database.status === 'healthy' ? presentedKey(request) : undefined
      // Whatever goes wrong with the counting, the health itself is told: that is what the route is for.
      const instances = key === undefined ? null : await countFor(deps, key).catch(() => null)
      return { ...summary(all, deps), instances }
    },
  )
}

const instanceHealthView = z.object({
  id: z.string(),
  name: z.string(),
  enabled: z.boolean(),
  connectionStatus: z.string(),
  reason: z.string().nullable(),
  since: z.string(),
  lastSeenAt: z.string().nullable(),
  healthy: z.boolean(),
})

function addForcedCheck(app: App, deps: HealthRoutesDeps, checkDatabase: DatabaseCheck): void {
  app.post(
    '/api/health/check',
    {
      config: { scope: 'read' },
      schema: {
        tags,
        summary: 'Check now, instance by instance',
        description: 'An instance is healthy when it is what its owner wants: connected, or disabled.',
        response: {
          200: healthView.extend({
            uptime: z.number(),
            version: z.string(),
            checkedAt: z.string(),
            instances: z.array(instanceHealthView),
          }),
        },
      },
    },
    async ({ auth: { tenantId } }) => {
      const all = await checkAll(deps, checkDatabase, { fresh: true })
      const rows = await deps.db.tenantTx(tenantId, (tx) => listInstanceHealth(tx, tenantId))
      const checkedAt = new Date(deps.clock.now()).toISOString()
      return { ...summary(all, deps), checkedAt, instances: rows.map(showInstanceHealth) }
    },
  )
}

const WARN_AT = 0.8
const CRITICAL_AT = 0.95

function addMemoryReport(app: App, { processName }: HealthRoutesDeps): void {
  app.get(
    '/api/memory/report',
    {
      config: { scope: 'read' },
      schema: {
        tags,
        summary: 'Memory of the process that answers, in bytes',
        response: {
          200: z.object({
            process: z.string(),
            pid: z.number(),
            heapUsed: z.number(),
            heapTotal: z.number(),
            heapLimit: z.number(),
            rss: z.number(),
            external: z.number(),
            level: z.enum(['ok', 'warn', 'crit']),
            thresholds: z.object({ warn: z.number(), crit: z.number() }),
          }),
        },
      },
    },
    async () => {
      const { heapUsed, heapTotal, rss, external } = process.memoryUsage()
      const heapLimit = getHeapStatistics().heap_size_limit
      return {
        process: processName,
        pid: process.pid,
        heapUsed,
        heapTotal,
        heapLimit,
        rss,
        external,
        level: memoryLevel(heapUsed / heapLimit),
        thresholds: { warn: WARN_AT, crit: CRITICAL_AT },
      }
    },
  )
}

// Helpers

interface Checked {
  readonly status: 'healthy' | 'unhealthy'
  readonly checks: { readonly database: CheckResult } & Readonly<Record<string, CheckResult>>
}

async function checkAll(
  { dependencies }: HealthRoutesDeps,
  checkDatabase: DatabaseCheck,
  options?: { readonly fresh: boolean },
): Promise<Checked> {
  const [database, reports] = await Promise.all([checkDatabase(options), dependencies.check()])
  const others = othersOf(reports).map((report): [string, CheckResult] => {
    const status = isDown(report) ? 'unhealthy' : 'healthy'
    return [report.name, { status, durationMs: report.latencyMs ?? 0 }]
  })
  const checks = { database, ...Object.fromEntries(others) }
  const unhealthy = Object.values(checks).some(({ status }) => status === 'unhealthy')
  return { status: unhealthy ? 'unhealthy' : 'healthy', checks }
}

/** The database has a check of its own: whether it can be written to. */
const othersOf = (reports: readonly DependencyReport[]) => reports.filter(({ name }) => name !== 'postgres')
const isDown = ({ status }: DependencyReport): boolean => status === 'down'

const summary = ({ status, checks }: Checked, { version }: HealthRoutesDeps) => ({
  status,
  version,
  uptime: Math.round(process.uptime()),
  checks,
})

async function countFor({ authenticate, db, cache }: HealthRoutesDeps, key: string) {
  const auth = await authenticate(key)
  if (!hasScope(auth, 'read')) return null
  const { tenantId } = auth
  const count = () => countInstances(db, tenantId)
  const { value, ageMs } = await cache.remember({ tenantId, name: 'instance-counts' }, COUNTS_VALID_MS, count)
  return { ...value, ageMs }
}

async function countInstances(db: Database, tenantId: TenantId) {
  const counts = await db.tenantTx(tenantId, (tx) => countInstancesByStatus(tx, tenantId))
  const countOf = (status: ConnectionStatus) => counts.find((row) => row.connection_status === status)?.count ?? 0
  return {
    total: counts.reduce((total, { count }) => total + count, 0),
    connected: countOf('CONNECTED'),
    byStatus: Object.fromEntries(connectionStatuses.map((status) => [status, countOf(status)])) as Record<
      ConnectionStatus,
      number
    >,
  }
}

function showInstanceHealth(row: InstanceHealthRow): z.infer<typeof instanceHealthView> {
  return {
    id: publicId('ins', row.id),
    name: row.name,
    enabled: row.enabled,
    connectionStatus: row.connection_status,
    reason: row.reason,
    since: row.status_since.toISOString(),
    lastSeenAt: row.last_seen_at?.toISOString() ?? null,
    healthy: row.connection_status === 'CONNECTED' || !row.enabled,
  }
}

function memoryLevel(used: number): 'ok' | 'warn' | 'crit' {
  if (used >= CRITICAL_AT) return 'crit'
  return used >= WARN_AT ? 'warn' : 'ok'
}
