/**
 * P14: five times as many messages as one number can send, for a minute, open loop. What is accepted must be answered soon and
 * delivered; the rest must be told to come back (429, 503, with Retry-After); memory must not follow the load; and when the
 * load ends a message must be accepted again at once. Latency counts from when the request was due. `recovery_ms`: from the end of the
 * load until five requests in a row are accepted, each within 250 ms.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { Pool } from 'undici'
import { startCluster } from '../../test/support/cluster.js'
import { launchMirante, type SimulatorProcess, TEST_API_KEY } from '../../test/support/launch.js'
import { pairByQr } from '../../test/support/pair.js'
import { openLoop } from '../lib/load.js'
import { itemAt, type Recipients } from '../lib/mix.js'
import { usageOf } from '../lib/proc.js'
import { arrivals } from '../lib/stanzas.js'
import { summarize } from '../lib/stat.js'
import type { Suite } from '../lib/suite.js'
import { startWorld } from '../lib/world.js'
import { messageBody } from '../targets/poster.js'

const ACCOUNT = '5511999940001'
const SECONDS = 60
const TIMES = 5
/** How fast the number is, by this many sent as fast as it goes. */
const PROBE = 500
/** A backlog that is worked off within seconds: with the usual limit a minute of overload would hardly fill it. */
const BACKLOG = 1_000
const CONNECTIONS = 1_024
const SAMPLE_MS = 250
const RECOVERED = { inRow: 5, withinMs: 250, patienceMs: 120_000 }

interface Answer {
  readonly status: number
  readonly retryAfter: boolean
  readonly whatsappId: string | undefined
}

export const suite: Suite = {
  ids: ['P14'],
  durable: true,
  mixes: false,
  async run({ rounds, fsyncUs, mix, scale, seed, report, log }) {
    const world = await startWorld({ mix, seed })
    const cluster = await startCluster({ fsyncUs })
    const env = { DATABASE_URL: cluster.url, LOG_LEVEL: 'error', MAX_WAITING_PER_INSTANCE: String(BACKLOG) }
    const mirante = await launchMirante({ simulator: world.simulator, env: { ...env, ...world.env } })
    const http = new Pool(mirante.url, { connections: CONNECTIONS })
    try {
      const instanceId = await pairByQr(mirante, world.simulator, 'overload', ACCOUNT)
      const recipients = await world.recipientsOf(ACCOUNT)
      const post = poster(http, instanceId, recipients)
      const perSecond = await probe(world.simulator, post, Math.round(PROBE * Math.max(0.2, scale)))
      log(`it sends ${perSecond.toFixed(0)} messages/s`)
      for (let round = 1; round <= rounds; round++) {
        const found = await overload(world.simulator, {
          post,
          pid: mirante.pid,
          perSecond,
          seconds: SECONDS * scale,
          round,
        })
        log(JSON.stringify(found))
        for (const [metric, value] of Object.entries(found)) {
          if (value !== null) report({ id: 'P14', target: 'us', round, metric, value })
        }
      }
    } finally {
      await http.destroy()
      await mirante.stop()
      await cluster.stop()
      await world.stop()
    }
  },
}

type Post = (tag: string, index: number) => Promise<Answer>

function poster(http: Pool, instanceId: string, recipients: Recipients): Post {
  return async (tag, index) => {
    const item = itemAt(recipients, tag, index)
    const { statusCode, headers, body } = await http.request({
      ...{ method: 'POST', path: '/api/messages', body: messageBody(instanceId, item, undefined) },
      headers: {
        authorization: `Bearer ${TEST_API_KEY}`,
        'content-type': 'application/json',
        'idempotency-key': item.key,
      },
    })
    const answer = (await body.json()) as { whatsappId?: string }
    return { status: statusCode, retryAfter: headers['retry-after'] !== undefined, whatsappId: answer.whatsappId }
  }
}

/** As P4 has it: from the first stanza to the last. */
async function probe(simulator: SimulatorProcess, post: Post, count: number): Promise<number> {
  await simulator.admin('DELETE', '/admin/trace')
  await openLoop({ rate: 5_000, count }, async (index) => (await post('probe', index)).status === 202)
  const times = (await arrivals(simulator, count, 120_000)).map(({ at }) => at).toSorted((a, b) => a - b)
  return ((count - 1) * 1_000) / ((times.at(-1) ?? 0) - (times[0] ?? 0))
}

interface Overload {
  readonly post: Post
  readonly pid: number
  readonly perSecond: number
  readonly seconds: number
  readonly round: number
}

async function overload(simulator: SimulatorProcess, { post, pid, perSecond, seconds, round }: Overload) {
  await simulator.admin('DELETE', '/admin/trace')
  const before = usageOf(pid).rssMb
  let peak = before
  const watching = setInterval(() => {
    peak = Math.max(peak, usageOf(pid).rssMb)
  }, SAMPLE_MS)
  const rate = perSecond * TIMES
  const count = Math.round(rate * seconds)
  const accepted: string[] = []
  let refused = 0
  let wrong = 0
  const samples = await openLoop({ rate, count }, async (index) => {
    const { status, retryAfter, whatsappId } = await post(`over-${round}`, index)
    if (status === 202 && whatsappId) accepted.push(whatsappId)
    else if ((status === 429 || status === 503) && retryAfter) refused += 1
    else wrong += 1
    return status === 202
  })
  const recoveryMs = await recovery(post, round, accepted)
  const arrived = new Set((await arrivals(simulator, accepted.length, 300_000)).map(({ id }) => id))
  clearInterval(watching)
  const answered = summarize(samples.filter(({ ok }) => ok).map(({ latencyMs }) => latencyMs))
  return {
    offered_per_s: rate,
    accepted_share: answered.n / count,
    accepted_p50_ms: answered.p50,
    // Of fewer than a thousand: the worst, which is no less.
    accepted_p99_ms: answered.p99 ?? answered.max,
    refused_share: refused / count,
    // Answers of another kind, and requests without an answer.
    wrong: wrong + (count - answered.n - refused - wrong),
    lost: accepted.filter((id) => !arrived.has(id)).length,
    rss_growth_mb: peak - before,
    recovery_ms: recoveryMs,
  }
}

async function recovery(post: Post, round: number, accepted: string[]): Promise<number> {
  const endedAt = performance.now()
  let inRow = 0
  for (let index = 0; inRow < RECOVERED.inRow; index++) {
    const startedAt = performance.now()
    if (startedAt - endedAt > RECOVERED.patienceMs) throw new Error('it does not recover')
    const { status, whatsappId } = await post(`after-${round}`, index)
    if (whatsappId) accepted.push(whatsappId)
    inRow = status === 202 && performance.now() - startedAt <= RECOVERED.withinMs ? inRow + 1 : 0
    await sleep(50)
  }
  return performance.now() - endedAt
}
