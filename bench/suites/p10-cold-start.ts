/**
 * P10: exec to the first 200 of /readyz with the schema present, and until all stored numbers are open again, against bare
 * Baileys logging the same number of accounts in (8 at once). In the mix every number, ours and theirs, has a past: ten chats
 * of twenty messages from its phone, groups, files that came in, and one turn of the mix that it sent.
 */
import pg from 'pg'
import { startCluster } from '../../test/support/cluster.js'
import { eventually } from '../../test/support/eventually.js'
import { launchMirante, type MiranteProcess } from '../../test/support/launch.js'
import { connectedCount, pairByQr } from '../../test/support/pair.js'
import { itemAt } from '../lib/mix.js'
import { SENT_BEFORE, untilQuiet, writeFilesTo, writeHistory } from '../lib/past.js'
import type { Suite } from '../lib/suite.js'
import { startWorld, type World } from '../lib/world.js'
import type { LoginOrder } from '../targets/bare-logins.js'
import { startBareProcess } from '../targets/bare-process.js'
import { createPoster } from '../targets/poster.js'

const NUMBERS = 100
const GROUPS = 2

export const suite: Suite = {
  ids: ['P10'],
  durable: false,
  mixes: true,
  async run({ rounds, mix, scale, seed, report, log }) {
    const numbers = Math.max(2, Math.round(NUMBERS * scale))
    const world = await startWorld({ mix, seed, groups: GROUPS })
    const cluster = await startCluster()
    // One key for all starts: what is stored is sealed with it.
    const env = {
      DATABASE_URL: cluster.url,
      LOG_LEVEL: 'error',
      ENCRYPTION_KEY: Buffer.alloc(32, 7).toString('base64'),
      ...world.env,
    }
    try {
      await storeNumbers(world, env, numbers)
      log(`${numbers} numbers are stored`)
      for (let round = 0; round <= rounds; round++) {
        const bareMs = await bareLogins(world, numbers, round)
        const startedAt = performance.now()
        const mirante = await launchMirante({ simulator: world.simulator, env })
        const readyMs = performance.now() - startedAt
        await eventually(async () => (await connectedCount(mirante)) >= numbers, 'all numbers are open')
        const openMs = performance.now() - startedAt
        await mirante.stop()
        log(`ready ${readyMs.toFixed(0)} ms · ${numbers} open ${openMs.toFixed(0)} ms · bare ${bareMs.toFixed(0)} ms`)
        if (round === 0) continue
        report({ id: 'P10', target: 'us', round, metric: 'ready_ms', value: readyMs })
        report({ id: 'P10', target: 'us', round, metric: 'all_open_ms', value: openMs, n: numbers })
        report({ id: 'P10', target: 'bare', round, metric: 'all_open_ms', value: bareMs, n: numbers })
      }
    } finally {
      await world.stop()
      await cluster.stop()
    }
  },
}

async function storeNumbers(
  world: World,
  env: Readonly<Record<string, string>> & { readonly DATABASE_URL: string },
  numbers: number,
): Promise<void> {
  const mirante = await launchMirante({ simulator: world.simulator, env })
  try {
    for (let index = 0; index < numbers; index++) {
      const account = `5511955${String(500_000 + index)}`
      await writeHistory(world, account)
      const instanceId = await pairByQr(mirante, world.simulator, `number ${index}`, account)
      if (world.mix === 'mixed') await givePast(world, mirante, { account, instanceId })
    }
    await untilSettled(env.DATABASE_URL)
  } finally {
    await mirante.stop()
  }
}

async function givePast(
  world: World,
  { url }: MiranteProcess,
  { account, instanceId }: { readonly account: string; readonly instanceId: string },
): Promise<void> {
  const recipients = await world.recipientsOf(account)
  await writeFilesTo(world, account, recipients)
  const poster = await createPoster({ url, instanceId })
  for (let index = 0; index < SENT_BEFORE; index++) {
    const item = itemAt(recipients, account, index)
    await poster.post(item, await poster.upload(item))
  }
  await poster.close()
  await untilQuiet(world, account)
}

/** Everything has left, and every file is here. */
async function untilSettled(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    await eventually(async () => {
      const { rows } = await client.query(
        `select (select count(*) from message where status in ('queued', 'sending'))
              + (select count(*) from media where state = 'pending') as n`,
      )
      return Number(rows[0].n) === 0
    }, 'all is sent and all files are stored')
  } finally {
    await client.end()
  }
}

/** Pairs accounts of this round in a process of their own, then times their logins. */
async function bareLogins(world: World, numbers: number, round: number): Promise<number> {
  const { wsUrl, httpUrl, rootPublicKeyHex, caPem } = world.simulator
  const bare = startBareProcess<LoginOrder>('bare-logins.ts')
  try {
    for (let index = 0; index < numbers; index++) {
      const account = `55119${56 + round}${String(500_000 + index)}`
      await writeHistory(world, account)
      await bare.order({ type: 'pair', target: { wsUrl, httpUrl, rootPublicKeyHex, caPem }, account })
      if (world.mix === 'mixed') {
        const recipients = await world.recipientsOf(account)
        await writeFilesTo(world, account, recipients)
        await bare.order({ type: 'send', account, recipients, count: SENT_BEFORE })
        await untilQuiet(world, account)
      }
      await bare.order({ type: 'close', account })
    }
    const { elapsedMs = Number.NaN } = await bare.order({ type: 'log-in' })
    return elapsedMs
  } finally {
    await bare.stop()
  }
}
