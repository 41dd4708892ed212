/** P2: latency of an accept at 200 requests/s, open loop, over one commit on the same database. Files were uploaded before. */
import pg from 'pg'
import { Pool } from 'undici'
import { startCluster } from '../../test/support/cluster.js'
import { openLoop } from '../lib/load.js'
import { summarize } from '../lib/stat.js'
import type { Suite } from '../lib/suite.js'
import { acceptRequest, startOurs } from '../targets/accept.js'

const RATE = 200
const SECONDS = 30

export const suite: Suite = {
  ids: ['P2'],
  durable: true,
  mixes: true,
  async run({ rounds, fsyncUs, mix, scale, report, log }) {
    const cluster = await startCluster({ fsyncUs })
    const target = await startOurs(cluster.url, { mix })
    const http = new Pool(`http://127.0.0.1:${target.port}`, { connections: 64 })
    const request = acceptRequest(target)
    try {
      for (let round = 0; round <= rounds; round++) {
        const commit = summarize(await commits(cluster.url, 1_000))
        const samples = await openLoop({ rate: RATE, count: Math.round(RATE * SECONDS * scale) }, async (index) => {
          const answer = await http.request({
            method: 'POST',
            path: request.path,
            headers: { 'content-type': 'application/json', ...request.headers() },
            body: request.body(index),
          })
          await answer.body.dump()
          return answer.statusCode === 202
        })
        const failed = samples.filter(({ ok }) => !ok).length
        const accept = summarize(samples.map(({ latencyMs }) => latencyMs))
        log(
          `commit p50 ${commit.p50.toFixed(2)} · accept p50 ${accept.p50.toFixed(2)} p99 ${accept.p99?.toFixed(2)} · ${failed} failed`,
        )
        if (round === 0) continue
        report({ id: 'P2', target: 'us', round, metric: 'accept_p50_ms', value: accept.p50, n: accept.n })
        report({ id: 'P2', target: 'us', round, metric: 'added_p50_ms', value: accept.p50 - commit.p50, n: accept.n })
        if (accept.p99 === null) continue
        report({ id: 'P2', target: 'us', round, metric: 'accept_p99_ms', value: accept.p99, n: accept.n })
        report({ id: 'P2', target: 'us', round, metric: 'added_p99_ms', value: accept.p99 - commit.p50, n: accept.n })
      }
    } finally {
      await http.close()
      await target.stop()
      await cluster.stop()
    }
  },
}

/** The durations of single-row commits, one after another, in ms. */
async function commits(url: string, count: number): Promise<number[]> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  await client.query('create table if not exists commit_probe (n int)')
  const samples: number[] = []
  for (let n = 0; n < count; n++) {
    const startedAt = performance.now()
    await client.query({ name: 'probe', text: 'insert into commit_probe values ($1)', values: [n] })
    samples.push(performance.now() - startedAt)
  }
  await client.end()
  return samples
}
