/**
 * P1: durable accepts per second, 200 connections, one API process; against the same route without persistence and with one
 * commit a request. Files were uploaded before, and are named by their ids. Afterwards as many messages must be stored as
 * 202s were answered: a faster but lossy accept fails.
 */
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { createDatabases, startCluster } from '../../test/support/cluster.js'
import { rawLoad } from '../lib/raw-load.js'
import type { Suite } from '../lib/suite.js'
import { type AcceptTarget, acceptRequest, startLimit, startOurs } from '../targets/accept.js'

const CONNECTIONS = 200
const DURATION_MS = 5_000
/** A control: the same product, one request a commit. It must miss the gate. */
const ungrouped = [fileURLToPath(new URL('../targets/ungrouped.ts', import.meta.url))]

export const suite: Suite = {
  ids: ['P1'],
  durable: true,
  mixes: true,
  async run({ rounds, fsyncUs, mix, scale, report, log }) {
    const cluster = await startCluster({ fsyncUs })
    const urls = await createDatabases(cluster.url, ['single', 'us', 'ungrouped'])
    const targets = [
      await startLimit('none', mix, ''),
      await startLimit('single', mix, urls.single),
      await startOurs(urls.us, { mix }),
      await startOurs(urls.ungrouped, { name: 'ungrouped', mix, command: ['--import', 'tsx', ...ungrouped] }),
    ]
    const answered = new Map<string, number>()
    try {
      // The first round warms up and is dropped.
      for (let round = 0; round <= rounds; round++) {
        for (const target of targets) {
          const result = await rawLoad({
            port: target.port,
            connections: CONNECTIONS,
            durationMs: DURATION_MS * scale,
            ...acceptRequest(target),
          })
          const accepted = result.statuses.get(202) ?? 0
          const perSecond = (accepted * 1_000) / result.elapsedMs
          answered.set(target.name, (answered.get(target.name) ?? 0) + accepted)
          const others = [...result.statuses].filter(([status]) => status !== 202)
          log(`${target.name}: ${perSecond.toFixed(0)}/s ${others.length > 0 ? JSON.stringify(others) : ''}`)
          if (round > 0)
            report({ id: 'P1', target: target.name, round, metric: 'accepts_per_s', value: perSecond, n: accepted })
        }
      }
      await assertStored(urls.us, answered.get('us') ?? 0)
    } finally {
      await stopAll(targets)
      await cluster.stop()
    }
  },
}

async function assertStored(url: string, answered: number): Promise<void> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  const { rows } = await client.query('select count(*)::int as n from message')
  await client.end()
  if (rows[0].n !== answered) throw new Error(`${answered} answers of 202, but ${rows[0].n} messages stored`)
}

async function stopAll(targets: readonly AcceptTarget[]): Promise<void> {
  for (const target of targets) await target.stop()
}
