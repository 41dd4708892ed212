/**
 * Replicas: the same numbers on one replica, on one with two gateway processes, and on three replicas, side by side over one
 * PostgreSQL server. Messages accepted and sent in a burst to all numbers at once, messages taken in in a burst from all of
 * them, CPU for each, memory. On a machine whose cores are all busy with one replica, more of them can only cost: what is
 * asked here is that they cost little. What they buy is measured with a core or a machine for each.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { Pool } from 'undici'
import { createDatabases, startCluster } from '../../test/support/cluster.js'
import { launchMirante, type MiranteProcess, TEST_API_KEY } from '../../test/support/launch.js'
import { pairByQr } from '../../test/support/pair.js'
import { closedLoop } from '../lib/load.js'
import { itemAt } from '../lib/mix.js'
import { type Usage, usageOf } from '../lib/proc.js'
import { arrivals } from '../lib/stanzas.js'
import type { Suite } from '../lib/suite.js'
import { startWorld, type World } from '../lib/world.js'
import { messageBody } from '../targets/poster.js'

const NUMBERS = 30
const LEAST_NUMBERS = 6
const SENT_EACH = 40
const RECEIVED_EACH = 40
const CALLERS = 64
/** Receipts and statuses belong to the message. */
const SETTLE_MS = 1_000
const PATIENCE_MS = 180_000
const ENCRYPTION_KEY = Buffer.alloc(32, 7).toString('base64')

/** `us`: three replicas. */
const LAYOUTS = [
  { name: 'one', replicas: 1, gateways: 1 },
  { name: 'two-gateways', replicas: 1, gateways: 2 },
  { name: 'us', replicas: 3, gateways: 1 },
] as const

interface Layout {
  readonly name: string
  readonly databaseUrl: string
  readonly members: readonly MiranteProcess[]
  readonly numbers: readonly { readonly account: string; readonly instanceId: string }[]
}

export const suite: Suite = {
  ids: ['REPLICAS'],
  durable: true,
  mixes: false,
  async run({ rounds, fsyncUs, mix, scale, seed, report, log }) {
    const count = Math.max(LEAST_NUMBERS, Math.round(NUMBERS * scale))
    const world = await startWorld({ mix, seed })
    const cluster = await startCluster({ fsyncUs, settings: { max_connections: '300' } })
    const layouts: Layout[] = []
    try {
      for (const [at, { name, replicas, gateways }] of LAYOUTS.entries()) {
        const { [name]: databaseUrl = '' } = await createDatabases(cluster.url, [name])
        const members: MiranteProcess[] = []
        layouts.push({ name, databaseUrl, members, numbers: [] })
        for (let n = 1; n <= replicas; n++) {
          const env = {
            ...{ DATABASE_URL: databaseUrl, REPLICA_NAME: `r${n}`, GATEWAYS: String(gateways), ENCRYPTION_KEY },
            ...{ LOG_LEVEL: 'error', MAX_WAITING_PER_INSTANCE: '1000000' },
          }
          members.push(await launchMirante({ simulator: world.simulator, env: { ...env, ...world.env } }))
        }
        const numbers = await pairAll(world, members, { count, at })
        layouts[at] = { name, databaseUrl, members, numbers }
        log(`${name}: ${replicas} × ${gateways} gateways, ${count} numbers`)
      }
      // The first round warms up and is dropped.
      for (let round = 0; round <= rounds; round++) {
        for (const layout of layouts) {
          const tag = `${layout.name}-${round}`
          const sent = await send(world, layout, { count: Math.round(SENT_EACH * Math.max(0.25, scale)), tag })
          const received = await receive(world, layout, Math.round(RECEIVED_EACH * Math.max(0.25, scale)))
          const figures = { ...sent, ...received, rss_mb: usageOfAll(layout).rssMb }
          log(
            `${layout.name}: ${JSON.stringify(figures, (_, value) => (typeof value === 'number' ? Math.round(value * 10) / 10 : value))}`,
          )
          if (round === 0) continue
          for (const [metric, value] of Object.entries(figures)) {
            report({ id: 'REPLICAS', target: layout.name, round, metric, value, n: count })
          }
        }
      }
    } finally {
      for (const { members } of layouts) for (const member of members) await member.stop()
      await cluster.stop()
      await world.stop()
    }
  },
}

async function pairAll(
  { simulator }: World,
  members: readonly MiranteProcess[],
  { count, at }: { readonly count: number; readonly at: number },
): Promise<{ account: string; instanceId: string }[]> {
  const numbers: { account: string; instanceId: string }[] = []
  await closedLoop({ concurrency: 4, count }, async (index) => {
    const account = `551199${at}${String(920_000 + index)}`
    const member = members[index % members.length]
    if (!member) throw new Error('no replica')
    numbers[index] = { account, instanceId: await pairByQr(member, simulator, `number ${index}`, account) }
    return true
  })
  if (numbers.filter(Boolean).length < count) throw new Error('not all numbers were paired')
  return numbers
}

function usageOfAll({ members }: Layout): Pick<Usage, 'cpuMs' | 'rssMb'> {
  const usages = members.map(({ pid }) => usageOf(pid))
  const sum = (of: (usage: Usage) => number): number => usages.reduce((total, usage) => total + of(usage), 0)
  return { cpuMs: sum(({ cpuMs }) => cpuMs), rssMb: sum(({ rssMb }) => rssMb) }
}

/** All numbers write at once, through all replicas. */
async function send(
  { simulator, mix, phones }: World,
  layout: Layout,
  { count, tag }: { readonly count: number; readonly tag: string },
) {
  const total = count * layout.numbers.length
  const pools = layout.members.map(({ url }) => new Pool(url, { connections: CALLERS }))
  await simulator.admin('DELETE', '/admin/trace')
  const before = usageOfAll(layout)
  const { samples, elapsedMs } = await closedLoop({ concurrency: CALLERS, count: total }, async (index) => {
    const number = layout.numbers[index % layout.numbers.length]
    const pool = pools[index % pools.length]
    if (!number || !pool) return false
    const item = itemAt({ mix, phones, groups: [] }, tag, Math.floor(index / layout.numbers.length))
    const { statusCode, body } = await pool.request({
      ...{ method: 'POST', path: '/api/messages', body: messageBody(number.instanceId, item, undefined) },
      headers: {
        authorization: `Bearer ${TEST_API_KEY}`,
        'content-type': 'application/json',
        'idempotency-key': `${tag}-${index}`,
      },
    })
    await body.dump()
    return statusCode === 202
  })
  for (const pool of pools) await pool.close()
  const refused = samples.filter(({ ok }) => !ok).length
  if (refused > 0) throw new Error(`${refused} of ${total} messages were refused`)
  const times = (await arrivals(simulator, total, PATIENCE_MS)).map(({ at }) => at).toSorted((a, b) => a - b)
  await sleep(SETTLE_MS)
  return {
    accepts_per_s: (total * 1_000) / elapsedMs,
    sends_per_s: ((total - 1) * 1_000) / ((times.at(-1) ?? 0) - (times[0] ?? 0)),
    cpu_ms_per_message: (usageOfAll(layout).cpuMs - before.cpuMs) / total,
  }
}

/** A contact writes to all numbers at once; until all of it is stored. */
async function receive({ simulator, phones }: World, layout: Layout, count: number) {
  const client = new pg.Client({ connectionString: layout.databaseUrl })
  await client.connect()
  try {
    const stored = async (): Promise<number> => {
      const { rows } = await client.query(`select count(*)::int as n from message where direction = 'inbound'`)
      return rows[0].n
    }
    const total = count * layout.numbers.length
    const before = { stored: await stored(), cpuMs: usageOfAll(layout).cpuMs }
    const startedAt = performance.now()
    await Promise.all(
      layout.numbers.map(({ account }, index) =>
        simulator.admin('POST', `/admin/contacts/${phones[index % phones.length]}/send`, {
          ...{ to: account, count, text: `hello ${account}` },
        }),
      ),
    )
    while ((await stored()) < before.stored + total) {
      if (performance.now() - startedAt > PATIENCE_MS) throw new Error('not all that was written came in')
      await sleep(20)
    }
    const elapsedMs = performance.now() - startedAt
    await sleep(SETTLE_MS)
    const cpuMs = usageOfAll(layout).cpuMs - before.cpuMs
    return { inbound_per_s: (total * 1_000) / elapsedMs, cpu_ms_per_inbound: cpuMs / total }
  } finally {
    await client.end()
  }
}
