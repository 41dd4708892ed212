/** P11 (c): claiming a job with none and 100,000 waiting, and renewing the leases of a process, by number. */
import { randomUUID } from 'node:crypto'
import sql from 'sql-template-tag'
import type { TenantId } from '../../src/kernel/ids.js'
import type { Database, Queryable } from '../../src/platform/database/database.js'
import { migrate } from '../../src/platform/database/migrate.js'
import { createPostgres } from '../../src/platform/database/postgres.js'
import { claimJobs } from '../../src/platform/jobs/job-store.js'
import { type Fence, type Incarnation, instanceResource } from '../../src/platform/leases/lease.js'
import { createLeaseStore } from '../../src/platform/leases/lease-store.js'
import { createDatabases, startCluster } from '../../test/support/cluster.js'
import { buildInstance, buildTenant } from '../../test/support/factories.js'
import { median } from '../lib/stat.js'
import type { SuiteContext } from '../lib/suite.js'

const JOBS = 100_000
const CLAIMS = 200
const CLAIM_BATCH = 16
const LEASES = [1, 100, 1_000]
const RENEWALS = 50

export async function byWaitingJobs({ rounds, scale, report, log }: SuiteContext): Promise<void> {
  const cluster = await startCluster()
  const worlds: { readonly waiting: number; readonly db: Database }[] = []
  try {
    for (const most of [0, JOBS]) {
      const waiting = Math.round(most * scale)
      const db = await openDatabase(cluster.url, `jobs_${waiting}`)
      await insertReady(db, await buildTenant(db), waiting + CLAIM_BATCH)
      await db.execute(sql`analyze job`)
      worlds.push({ waiting, db })
    }
    for (let round = 0; round <= rounds; round++) {
      const times = worlds.map((): number[] => [])
      for (let turn = 0; turn < CLAIMS; turn++) {
        for (const [at, { db }] of worlds.entries()) times[at]?.push(await claimOnce(db))
      }
      const p50s = times.map((of) => median(of))
      log(worlds.map(({ waiting }, at) => `${waiting} waiting: claim p50 ${p50s[at]?.toFixed(2)} ms`).join(', '))
      const value = (p50s[1] ?? Number.NaN) / (p50s[0] ?? Number.NaN)
      if (round > 0) report({ id: 'P11', target: 'us', round, metric: 'claim_p50_to_empty', value, n: CLAIMS })
    }
  } finally {
    for (const { db } of worlds) await db.close()
    await cluster.stop()
  }
}

async function insertReady(db: Database, tenantId: TenantId, count: number): Promise<void> {
  await db.execute(sql`
    insert into job (id, tenant_id, kind, subject_id, due_at, attempt, state)
    select uuid_v7(), ${tenantId}, 'fan-out', uuid_v7(), now() - interval '1 minute', 0, 'ready'
    from generate_series(1, ${count}::int)`)
}

/** Claims some and puts them back, so that as many wait as before; resolves to the duration of the claim in ms. */
async function claimOnce(db: Database): Promise<number> {
  const startedAt = performance.now()
  const { jobs } = await claimJobs(db, {
    ...{ kind: 'fan-out', limit: CLAIM_BATCH, claimMs: 60_000 },
    ...{ worker: randomUUID(), token: randomUUID() },
  })
  const elapsedMs = performance.now() - startedAt
  if (jobs.length !== CLAIM_BATCH) throw new Error(`claimed ${jobs.length} jobs of ${CLAIM_BATCH}`)
  await db.execute(sql`
    update job set state = 'ready', worker = null, token = null, running_until = null, attempt = attempt - 1
    where id = any (${jobs.map(({ jobId }) => jobId)}::uuid[])`)
  return elapsedMs
}

export async function byLeases({ rounds, scale, report, log }: SuiteContext): Promise<void> {
  const cluster = await startCluster()
  const db = await openDatabase(cluster.url, 'leases')
  try {
    const holder = randomUUID() as Incarnation
    const most = Math.max(10, Math.round(Math.max(...LEASES) * scale))
    const fences = await takeMany(db, holder, most)
    for (let round = 0; round <= rounds; round++) {
      for (const count of new Set(LEASES.map((wanted) => Math.min(wanted, most)))) {
        let statements = 0
        const counting: Queryable = {
          query: (statement, name) => {
            statements += 1
            return db.query(statement, name)
          },
          execute: (statement, name) => {
            statements += 1
            return db.execute(statement, name)
          },
        }
        const store = createLeaseStore(counting, { advisoryLocks: false })
        const times: number[] = []
        for (let turn = 0; turn < RENEWALS; turn++) {
          const startedAt = performance.now()
          const renewed = await store.renew(holder, fences.slice(0, count))
          times.push(performance.now() - startedAt)
          if (renewed.size !== count) throw new Error(`${renewed.size} of ${count} leases were renewed`)
        }
        log(`renewing ${count}: p50 ${median(times).toFixed(2)} ms, ${statements / RENEWALS} statements`)
        if (round === 0) continue
        report({
          id: 'P11',
          target: `${count} leases`,
          round,
          metric: 'renew_p50_ms',
          value: median(times),
          n: RENEWALS,
        })
        report({ id: 'P11', target: 'us', round, metric: 'renew_statements', value: statements / RENEWALS, n: count })
      }
    }
  } finally {
    await db.close()
    await cluster.stop()
  }
}

async function takeMany(db: Database, holder: Incarnation, count: number): Promise<Fence[]> {
  const tenantId = await buildTenant(db)
  const store = createLeaseStore(db, { advisoryLocks: false })
  const fences: Fence[] = []
  for (let n = 0; n < count; n++) {
    const resource = instanceResource(await buildInstance(db, tenantId))
    const [record] = await store.poll([resource])
    if (!record) throw new Error('no lease record')
    const token = randomUUID()
    const seen = { seenEpoch: record.epoch, seenRenewSeq: record.renewSeq, how: 'free' } as const
    const epoch = await store.take({ resource, holder, token, ...seen })
    if (epoch === undefined) throw new Error('somebody else took the lease')
    fences.push({ resource, epoch, token })
  }
  return fences
}

async function openDatabase(clusterUrl: string, name: string): Promise<Database> {
  const { [name]: url = '' } = await createDatabases(clusterUrl, [name])
  await migrate(url)
  return createPostgres({ url, max: 1, applicationName: 'bench', onError: () => {} })
}
