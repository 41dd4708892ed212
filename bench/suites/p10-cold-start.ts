/**
 * P10: exec to the first 200 of /readyz with the schema present, and until all stored numbers are open again, against bare
 * Baileys logging the same number of accounts in (8 at once).
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { startCluster } from '../../test/support/cluster.js'
import { eventually } from '../../test/support/eventually.js'
import { launchMirante, launchSimulator, type SimulatorProcess } from '../../test/support/launch.js'
import { connectedCount, pairByQr } from '../../test/support/pair.js'
import type { Suite } from '../lib/suite.js'

const NUMBERS = 100

export const suite: Suite = {
  ids: ['P10'],
  durable: false,
  async run({ rounds, scale, seed, report, log }) {
    const numbers = Math.max(2, Math.round(NUMBERS * scale))
    const simulator = await launchSimulator(['--latency-ms', '0', '--seed', String(seed), '--decrypt', 'none'])
    const cluster = await startCluster()
    // One key for all starts: what is stored is sealed with it.
    const env = {
      DATABASE_URL: cluster.url,
      LOG_LEVEL: 'error',
      ENCRYPTION_KEY: Buffer.alloc(32, 7).toString('base64'),
    }
    try {
      await pairNumbers(simulator, env, numbers, log)
      for (let round = 0; round <= rounds; round++) {
        const bareMs = await bareLogins(simulator, numbers)
        const startedAt = performance.now()
        const mirante = await launchMirante({ simulator, env })
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
      await simulator.stop()
      await cluster.stop()
    }
  },
}

async function pairNumbers(
  simulator: SimulatorProcess,
  env: Readonly<Record<string, string>>,
  numbers: number,
  log: (line: string) => void,
): Promise<void> {
  const mirante = await launchMirante({ simulator, env })
  for (let index = 0; index < numbers; index++) {
    await pairByQr(mirante, simulator, `number ${index}`, `5511955${String(500_000 + index)}`)
  }
  log(`${numbers} numbers paired`)
  await mirante.stop()
}

/** Pairs the accounts once in a process of their own, then times its logins. */
async function bareLogins(simulator: SimulatorProcess, numbers: number): Promise<number> {
  const script = fileURLToPath(new URL('../targets/bare-logins.ts', import.meta.url))
  const { wsUrl, httpUrl, rootPublicKeyHex } = simulator
  const child = fork(script, [JSON.stringify({ wsUrl, httpUrl, rootPublicKeyHex, numbers })], {
    execArgv: ['--import', 'tsx'],
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
  const [answer] = (await once(child, 'message')) as [{ elapsedMs: number }]
  child.kill('SIGKILL')
  return answer.elapsedMs
}
