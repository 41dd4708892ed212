/**
 * P7: what a simulated contact writes, from the moment the server puts the stanza on the socket until the row is committed
 * (PostgreSQL's own commit time) and until the webhook is there, against `messages.upsert` of bare Baileys: at 5 a second, and
 * as a burst. Then the healthy endpoint alone and beside one that takes 20 s for each answer. A p99 is taken over all rounds
 * together, and only of 1,000 samples or more; whatever the number of rounds, there are so many at full scale.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { startCluster } from '../../test/support/cluster.js'
import {
  launchMirante,
  launchSimulator,
  type MiranteProcess,
  type SimulatorProcess,
} from '../../test/support/launch.js'
import { pairByQr } from '../../test/support/pair.js'
import { startWebhookReceiver, type WebhookReceiver } from '../../test/support/webhook-receiver.js'
import { departures } from '../lib/stanzas.js'
import { atLeastInAll, type Summary, summarize } from '../lib/stat.js'
import type { Suite } from '../lib/suite.js'
import type { Order } from '../targets/bare-client.js'
import { startBareProcess } from '../targets/bare-process.js'

const CONTACT = '5511976600001'
const ACCOUNTS = { bare: '5511999970001', us: '5511999970002' }
const PACED = { count: 200, rate: 5 }
/** Quicker than the rest: a slow neighbour is to be met under load. */
const NEIGHBOURS = { count: 250, rate: 20 }
const BURST = 1_000
const WARM = 10
const SLOW_MS = 20_000
const PATIENCE_MS = 120_000

/** Receives what a contact sends to its account. */
interface Receiving {
  readonly name: keyof typeof ACCOUNTS
  /** When each of these was there (epoch ms). Waits for all. */
  received(ids: readonly string[]): Promise<ReadonlyMap<string, number>>
}

interface Arrived {
  readonly ids: readonly string[]
  readonly sentAt: ReadonlyMap<string, number>
  readonly receivedAt: ReadonlyMap<string, number>
}

export const suite: Suite = {
  ids: ['P7'],
  durable: true,
  mixes: false,
  async run({ rounds, fsyncUs, scale, seed, report, log }) {
    const simulator = await launchSimulator(['--latency-ms', '0', '--seed', String(seed), '--decrypt', 'none'])
    const cluster = await startCluster({ fsyncUs, settings: { track_commit_timestamp: 'on' } })
    const receiver = await startWebhookReceiver()
    /** On a port of its own: what two endpoints of one server do to each other is another question. */
    const slowReceiver = await startWebhookReceiver()
    slowReceiver.answerWith({ status: 200, afterMs: SLOW_MS })
    await simulator.admin('POST', '/admin/contacts', { phones: [CONTACT] })
    const bare = await startBareReceiving(simulator)
    const mirante = await launchMirante({ simulator, env: { DATABASE_URL: cluster.url, LOG_LEVEL: 'error' } })
    /** Samples of all rounds, by what they measure. */
    const pooled = new Map<string, number[]>()
    try {
      const us = await startUsReceiving(mirante, simulator, receiver)
      for (const target of [bare, us]) await receive(simulator, target, WARM)
      for (let round = 1; round <= rounds; round++) {
        await atRate(round, us)
        await inBurst(round, us)
        await besideSlow(round, us)
        // Requests to the slow endpoint are still under way; the next round shall not meet them.
        if (round < rounds) await sleep(SLOW_MS)
      }
      reportTails()
    } finally {
      await bare.stop()
      await mirante.stop()
      await receiver.stop()
      await slowReceiver.stop()
      await simulator.stop()
      await cluster.stop()
    }

    async function atRate(round: number, us: Receiving): Promise<void> {
      const count = scaled(atLeastInAll(PACED.count, rounds))
      const p50 = new Map<string, number>()
      for (const target of [bare, us]) {
        const arrived = await receive(simulator, target, count, PACED.rate)
        const whole = latencies(arrived)
        const row = target === us ? latencies({ ...arrived, receivedAt: await committed(cluster.url) }) : []
        keep(target.name, whole)
        keep('row', row)
        p50.set(target.name, summarize(whole).p50)
        log(`${PACED.rate}/s: ${target.name} ${told(summarize(whole))}`)
        report({ id: 'P7', target: target.name, round, metric: 'p50_ms', value: summarize(whole).p50, n: count })
        if (row.length === 0) continue
        log(`${PACED.rate}/s: to the committed row ${told(summarize(row))}`)
        report({ id: 'P7', target: 'us', round, metric: 'row_p50_ms', value: summarize(row).p50, n: row.length })
      }
      const added = (p50.get('us') ?? Number.NaN) - (p50.get('bare') ?? Number.NaN)
      report({ id: 'P7', target: 'us', round, metric: 'added_p50_ms', value: added, n: count })
    }

    async function inBurst(round: number, us: Receiving): Promise<void> {
      const count = scaled(BURST)
      for (const target of [bare, us]) {
        const arrived = await receive(simulator, target, count)
        const spanMs = Math.max(...arrived.receivedAt.values()) - Math.min(...arrived.sentAt.values())
        const sendingMs = Math.max(...arrived.sentAt.values()) - Math.min(...arrived.sentAt.values())
        const perSecond = (count * 1_000) / spanMs
        const offered = (count * 1_000) / sendingMs
        log(`burst of ${count}: ${target.name} ${perSecond.toFixed(0)}/s of ${offered.toFixed(0)}/s that were sent`)
        report({ id: 'P7', target: target.name, round, metric: 'burst_per_s', value: perSecond, n: count })
        report({ id: 'P7', target: target.name, round, metric: 'burst_offered_per_s', value: offered, n: count })
      }
    }

    async function besideSlow(round: number, us: Receiving): Promise<void> {
      const count = scaled(atLeastInAll(NEIGHBOURS.count, rounds))
      const alone = latencies(await receive(simulator, us, count, NEIGHBOURS.rate))
      const before = slowReceiver.verified.length
      const slow = await register(mirante, slowReceiver)
      const beside = latencies(await receive(simulator, us, count, NEIGHBOURS.rate))
      await mirante.api('DELETE', `/api/webhooks/${slow}`)
      if (slowReceiver.verified.length === before)
        throw new Error('nothing reached the slow endpoint: there was no slow neighbour')
      keep('alone', alone)
      keep('beside', beside)
      log(`${NEIGHBOURS.rate}/s: alone ${told(summarize(alone))} · beside a slow one ${told(summarize(beside))}`)
      report({ id: 'P7', target: 'alone', round, metric: 'healthy_p50_ms', value: summarize(alone).p50, n: count })
      report({ id: 'P7', target: 'us', round, metric: 'healthy_p50_ms', value: summarize(beside).p50, n: count })
    }

    function reportTails(): void {
      const p99 = (name: string) => summarize(pooled.get(name) ?? []).p99
      const tail = (target: string, metric: string, value: number | null): void => {
        if (value !== null) report({ id: 'P7', target, round: rounds, metric, value })
      }
      const [ofBare, ofUs] = [p99('bare'), p99('us')]
      tail('bare', 'p99_ms', ofBare)
      tail('us', 'p99_ms', ofUs)
      tail('us', 'row_p99_ms', p99('row'))
      tail('us', 'added_p99_ms', ofBare === null || ofUs === null ? null : ofUs - ofBare)
      tail('alone', 'healthy_p99_ms', p99('alone'))
      tail('us', 'healthy_p99_ms', p99('beside'))
      if (ofUs === null) log(`no p99: it takes ${1_000} samples, there are ${pooled.get('us')?.length ?? 0}`)
    }

    function scaled(count: number): number {
      return Math.max(WARM, Math.round(count * scale))
    }

    function keep(name: string, samples: readonly number[]): void {
      pooled.set(name, [...(pooled.get(name) ?? []), ...samples])
    }
  },
}

async function startBareReceiving(simulator: SimulatorProcess): Promise<Receiving & { stop(): Promise<void> }> {
  const { wsUrl, httpUrl, rootPublicKeyHex, caPem } = simulator
  const bare = startBareProcess<Order>('bare-client.ts')
  await bare.order({ type: 'pair', wsUrl, httpUrl, rootPublicKeyHex, caPem, phone: ACCOUNTS.bare })
  return {
    name: 'bare',
    received: async (ids) => new Map(Object.entries(await bare.order({ type: 'received', ids }))),
    stop: bare.stop,
  }
}

async function startUsReceiving(
  mirante: MiranteProcess,
  simulator: SimulatorProcess,
  receiver: WebhookReceiver,
): Promise<Receiving> {
  const seenAt = new Map<string, number>()
  receiver.answerWith(({ payload }) => {
    const id = payload.data.whatsappId as string
    if (!seenAt.has(id)) seenAt.set(id, performance.timeOrigin + performance.now())
    return 200
  })
  await pairByQr(mirante, simulator, 'inbound', ACCOUNTS.us)
  await register(mirante, receiver)
  return {
    name: 'us',
    async received(ids) {
      await receiver.waitFor(() => ids.every((id) => seenAt.has(id)), `${ids.length} messages`, PATIENCE_MS)
      return seenAt
    },
  }
}

async function register(mirante: MiranteProcess, receiver: WebhookReceiver): Promise<string> {
  const { url } = receiver
  const { status, body } = await mirante.api('POST', '/api/webhooks', { body: { url, events: ['message.received'] } })
  if (status !== 201) throw new Error(`cannot register an endpoint: ${JSON.stringify(body)}`)
  receiver.trust(body.secret)
  return body.id
}

/** The contact sends, at a rate or all at once; resolves when the target has everything. */
async function receive(
  simulator: SimulatorProcess,
  target: Receiving,
  count: number,
  ratePerSecond?: number,
): Promise<Arrived> {
  await simulator.admin('DELETE', '/admin/trace')
  const { ids } = await simulator.admin<{ ids: string[] }>('POST', `/admin/contacts/${CONTACT}/send`, {
    ...{ to: ACCOUNTS[target.name], text: 'inbound', count },
    ...(ratePerSecond === undefined ? {} : { ratePerSecond }),
  })
  const times = await target.received(ids)
  const sent = await departures(simulator, ACCOUNTS[target.name])
  const only = (all: ReadonlyMap<string, number>) => new Map(ids.map((id) => [id, all.get(id) ?? Number.NaN]))
  return { ids, sentAt: only(sent), receivedAt: only(times) }
}

const latencies = ({ ids, sentAt, receivedAt }: Arrived): number[] =>
  ids.map((id) => (receivedAt.get(id) ?? Number.NaN) - (sentAt.get(id) ?? Number.NaN))

/** When PostgreSQL committed each inbound message (epoch ms), by WhatsApp id. */
async function committed(url: string): Promise<Map<string, number>> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    const { rows } = await client.query(
      `select whatsapp_id as id, extract(epoch from pg_xact_commit_timestamp(xmin))::float8 * 1000 as at
       from message where direction = 'inbound'`,
    )
    return new Map(rows.map(({ id, at }) => [id as string, at as number]))
  } finally {
    await client.end()
  }
}

const told = ({ p50, p95, p99 }: Summary): string =>
  `p50 ${p50.toFixed(1)} p95 ${p95.toFixed(1)}${p99 === null ? '' : ` p99 ${p99.toFixed(1)}`} ms`
