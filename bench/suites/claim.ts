/**
 * Claim: whether taking the heads of lanes stays flat with the backlog and with the number of lanes. In each world (messages
 * waiting × lanes) 16 messages are accepted, 16 heads claimed and settled, again and again, so the backlog keeps its size.
 * The statements are the product's; the worlds are made by SQL. Worlds take turns, claim by claim.
 */
import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { acceptBatch } from '../../src/features/messages/accept-store.js'
import { claimHeads, settleHeads } from '../../src/features/messages/lane-store.js'
import { type ChatId, createIdGenerator, type InstanceId, type TenantId } from '../../src/kernel/ids.js'
import type { Database, Queryable } from '../../src/platform/database/database.js'
import { migrate } from '../../src/platform/database/migrate.js'
import { createPostgres } from '../../src/platform/database/postgres.js'
import { clientConfig, maintenanceTimeouts } from '../../src/platform/database/postgres-client.js'
import type { Lease } from '../../src/platform/leases/lease.js'
import { createDatabases, startCluster } from '../../test/support/cluster.js'
import { buildInstance, buildTenant, takeLease } from '../../test/support/factories.js'
import { median, summarize } from '../lib/stat.js'
import type { Suite } from '../lib/suite.js'
import { fillLanes } from '../targets/backlog.js'

const HEADS = 16
const CLAIMS = 80
const WAITING = [0, 1_000, 100_000]
const LANES = [100, 100_000]

const ids = createIdGenerator()

interface World {
  readonly name: string
  readonly url: string
  readonly db: Database
  readonly tenantId: TenantId
  readonly instanceId: InstanceId
  readonly lease: Lease
  /** Lanes that nothing else waits in. */
  readonly chats: readonly ChatId[]
}

export const suite: Suite = {
  ids: ['CLAIM'],
  durable: false,
  mixes: false,
  async run({ rounds, scale, report, log }) {
    const cluster = await startCluster()
    const worlds: World[] = []
    try {
      for (const lanes of LANES) {
        for (const waiting of WAITING) worlds.push(await makeWorld(cluster.url, Math.round(waiting * scale), lanes))
      }
      log(`worlds: ${worlds.map(({ name }) => name).join(', ')}`)
      for (let round = 0; round <= rounds; round++) {
        const measured = await measureRound(worlds)
        const [empty] = measured
        for (const { name, p50, buffers } of measured) {
          log(`${name}: p50 ${p50.toFixed(2)} ms, ${buffers} buffers`)
          if (round === 0 || !empty) continue
          report({ id: 'CLAIM', target: name, round, metric: 'claim_p50_ms', value: p50, n: CLAIMS })
          report({ id: 'CLAIM', target: name, round, metric: 'claim_buffers', value: buffers })
        }
        if (round === 0 || !empty) continue
        const worst = (of: (world: Measured) => number): number => Math.max(...measured.map(of)) / of(empty)
        report({ id: 'CLAIM', target: 'us', round, metric: 'worst_time_to_empty', value: worst(({ p50 }) => p50) })
        report({ id: 'CLAIM', target: 'us', round, metric: 'worst_buffers_to_empty', value: worst((w) => w.buffers) })
      }
    } finally {
      for (const { db } of worlds) await db.close()
      await cluster.stop()
    }
  },
}

interface Measured {
  readonly name: string
  readonly p50: number
  /** Pages touched by one claim, median. */
  readonly buffers: number
}

async function measureRound(worlds: readonly World[]): Promise<Measured[]> {
  const times = worlds.map((): number[] => [])
  for (let turn = 0; turn < CLAIMS; turn++) {
    for (const [index, world] of worlds.entries()) times[index]?.push(await claimOnce(world))
  }
  const measured: Measured[] = []
  for (const [index, world] of worlds.entries()) {
    measured.push({ name: world.name, p50: summarize(times[index] ?? []).p50, buffers: await buffersOf(world) })
    await claimOnce(world)
  }
  return measured
}

/** One more message for each lane of the world's own. */
async function acceptHeads({ db, tenantId, instanceId, chats }: World): Promise<void> {
  await acceptBatch(
    db,
    chats.map((chatId) => ({
      messageId: ids.next('msg'),
      tenantId,
      instanceId,
      chatId,
      whatsappId: `3EB0${randomBytes(9).toString('hex').toUpperCase()}`,
      content: { type: 'text' as const, text: { body: 'claim me' } },
      origin: 'api' as const,
      metadata: null,
      eventId: ids.next('evt'),
      idempotency: null,
    })),
  )
}

/** Accepts, claims and settles; resolves to the duration of the claim in ms. */
async function claimOnce(world: World): Promise<number> {
  const { db, instanceId, lease } = world
  await acceptHeads(world)
  const startedAt = performance.now()
  const heads = await claimHeads(db, lease, instanceId, HEADS)
  const elapsedMs = performance.now() - startedAt
  if (heads.length !== HEADS) throw new Error(`claimed ${heads.length} heads of ${HEADS}`)
  const outcome = { to: 'sent' as const, at: new Date() }
  await settleHeads(
    db,
    heads.map((head) => ({ fence: lease, instanceId, head, outcome, eventId: ids.next('evt') })),
  )
  return elapsedMs
}

async function buffersOf(world: World): Promise<number> {
  const { url, lease, instanceId } = world
  await acceptHeads(world)
  let claim = { text: '', values: [] as unknown[] }
  const catching = {
    async query(statement: { readonly text: string; readonly values: unknown[] }) {
      claim = { text: statement.text, values: statement.values }
      return []
    },
  }
  await claimHeads(catching as unknown as Queryable, lease, instanceId, HEADS)
  const client = new pg.Client({
    ...clientConfig({ url, applicationName: 'bench', role: 'mirante_system', timeouts: maintenanceTimeouts }),
  })
  await client.connect()
  const samples: number[] = []
  for (let sample = 0; sample < 5; sample++) {
    await client.query('begin')
    const { rows } = await client.query(`explain (analyze, buffers, format json) ${claim.text}`, claim.values)
    await client.query('rollback')
    const { Plan: plan } = rows[0]['QUERY PLAN'][0]
    samples.push(plan['Shared Hit Blocks'] + plan['Shared Read Blocks'])
  }
  await client.end()
  return median(samples)
}

async function makeWorld(serverUrl: string, waiting: number, lanes: number): Promise<World> {
  const name = `${waiting} in ${lanes} lanes`
  const database = `claim_${waiting}_${lanes}`
  const { [database]: url = '' } = await createDatabases(serverUrl, [database])
  await migrate(url)
  const db = createPostgres({ url, max: 1, applicationName: 'bench', onError: () => {} })
  const tenantId = await buildTenant(db)
  const instanceId = await buildInstance(db, tenantId)
  const lease = await takeLease(db, instanceId)
  await fillLanes(url, { tenantId, instanceId, waiting, lanes })
  const chats = await fillLanes(url, { tenantId, instanceId, waiting: 0, lanes: HEADS })
  return { name, url, db, tenantId, instanceId, lease, chats }
}
