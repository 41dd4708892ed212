/**
 * P6: resident memory of the gateway and of the web process with one number, and what each further idle number adds, by least
 * squares over equal steps from a tenth to the full count, against bare Baileys with as many numbers in one process. Both
 * pair number after number and are read after a while of rest. `*_restarted_mb`: started anew on the full count.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { startCluster } from '../../test/support/cluster.js'
import { eventually } from '../../test/support/eventually.js'
import {
  launchMirante,
  launchSimulator,
  type MiranteProcess,
  type SimulatorProcess,
} from '../../test/support/launch.js'
import { connectedCount, pairByQr } from '../../test/support/pair.js'
import { usageOf } from '../lib/proc.js'
import { slope } from '../lib/stat.js'
import type { Suite } from '../lib/suite.js'
import { startBareProcess } from '../targets/bare-process.js'

const NUMBERS = 100
const STEPS = 6
const REST_MS = 30_000
const LEAST_REST_MS = 3_000

interface NumbersOrder {
  readonly target: Pick<SimulatorProcess, 'wsUrl' | 'httpUrl' | 'rootPublicKeyHex'>
  readonly numbers: number
}

/** A target that grows: its memory in MB, by part. */
interface GrowingTarget {
  grow(numbers: number): Promise<void>
  memory(): Readonly<Record<string, number>>
}

export const suite: Suite = {
  ids: ['P6'],
  durable: false,
  mixes: false,
  async run({ rounds, scale, seed, report, log }) {
    const full = Math.max(6, Math.round(NUMBERS * scale))
    const restMs = Math.max(LEAST_REST_MS, REST_MS * scale)
    for (let round = 1; round <= rounds; round++) {
      const simulator = await launchSimulator(['--latency-ms', '0', '--seed', String(seed), '--decrypt', 'none'])
      try {
        await measureBare(round, simulator)
        await measureUs(round, simulator)
      } finally {
        await simulator.stop()
      }
    }

    async function measureBare(round: number, simulator: SimulatorProcess): Promise<void> {
      const { wsUrl, httpUrl, rootPublicKeyHex } = simulator
      const bare = startBareProcess<NumbersOrder>('bare-numbers.mjs')
      try {
        const growth = await measure({
          async grow(numbers) {
            await bare.order({ target: { wsUrl, httpUrl, rootPublicKeyHex }, numbers })
          },
          memory: () => ({ bare: usageOf(bare.pid).rssMb }),
        })
        reportGrowth('bare', round, growth)
      } finally {
        await bare.stop()
      }
    }

    async function measureUs(round: number, simulator: SimulatorProcess): Promise<void> {
      const cluster = await startCluster()
      // One key for both starts: what is stored is sealed with it.
      const encryptionKey = Buffer.alloc(32, 7).toString('base64')
      const env = { DATABASE_URL: cluster.url, LOG_LEVEL: 'error', ENCRYPTION_KEY: encryptionKey }
      let mirante = await launchMirante({ simulator, env })
      try {
        let paired = 0
        const growth = await measure({
          async grow(numbers) {
            for (; paired < numbers; paired++) {
              await pairByQr(mirante, simulator, `number ${paired}`, `5511955${500_000 + paired}`)
            }
          },
          memory: () => memoryOf(mirante),
        })
        reportGrowth('us', round, growth)
        await mirante.stop()
        mirante = await launchMirante({ simulator, env })
        await eventually(async () => (await connectedCount(mirante)) >= full, 'all numbers are open')
        await sleep(restMs)
        for (const [part, mb] of Object.entries(memoryOf(mirante))) {
          log(`us, started anew on ${full} numbers: ${part} ${mb.toFixed(0)} MB`)
          report({ id: 'P6', target: 'us', round, metric: `${part}_restarted_mb`, value: mb, n: full })
        }
      } finally {
        await mirante.stop()
        await cluster.stop()
      }
    }

    /** Memory with one number, and then at each step. */
    async function measure(target: GrowingTarget): Promise<Growth> {
      await target.grow(1)
      await sleep(restMs)
      const base = target.memory()
      const points: Point[] = []
      for (let step = 0; step < STEPS; step++) {
        const numbers = Math.round((full * (1 + (step * 9) / (STEPS - 1))) / 10)
        await target.grow(Math.max(1, numbers))
        await sleep(restMs)
        points.push({ numbers, memory: target.memory() })
      }
      return { base, points }
    }

    function reportGrowth(target: string, round: number, { base, points }: Growth): void {
      let sum = 0
      for (const [part, baseMb] of Object.entries(base)) {
        const perNumber = slope(points.map(({ numbers, memory }) => [numbers, memory[part] ?? Number.NaN]))
        sum += perNumber
        const steps = points.map(({ numbers, memory }) => `${numbers}: ${memory[part]?.toFixed(0)}`).join(', ')
        log(`${target}, ${part}: ${baseMb.toFixed(0)} MB, then ${steps}; ${perNumber.toFixed(2)} MB a number`)
        report({ id: 'P6', target, round, metric: `${part}_base_mb`, value: baseMb })
        report({ id: 'P6', target, round, metric: `${part}_mb_per_number`, value: perNumber, n: points.length })
      }
      report({ id: 'P6', target, round, metric: 'mb_per_number', value: sum, n: points.length })
    }
  },
}

interface Point {
  readonly numbers: number
  readonly memory: Readonly<Record<string, number>>
}

interface Growth {
  readonly base: Readonly<Record<string, number>>
  readonly points: readonly Point[]
}

/** The supervisor aside: it is the same with any count. */
function memoryOf(mirante: MiranteProcess) {
  const rssOf = (target: 'gateway' | 'web'): number => {
    const pid = mirante.pidOf(target)
    if (pid === undefined) throw new Error(`no ${target} is running`)
    return usageOf(pid).rssMb
  }
  return { gateway: rssOf('gateway'), web: rssOf('web') }
}
