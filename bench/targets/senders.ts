/** Targets that send through the simulator: bare Baileys and Mirante, each with one paired number and the same contacts. */
import { launchMirante, type MiranteOptions } from '../../test/support/launch.js'
import { pairByQr } from '../../test/support/pair.js'
import { openLoop } from '../lib/load.js'
import { itemAt } from '../lib/mix.js'
import type { World } from '../lib/world.js'
import type { Order } from './bare-client.js'
import { bareId } from './bare-id.js'
import { startBareProcess } from './bare-process.js'
import { createPoster } from './poster.js'

/** A message that was sent at a rate: its number, and when it was due (epoch ms). */
export interface Due {
  readonly index: number
  readonly at: number
}

export interface SendTarget {
  readonly name: string
  readonly pid: number
  /** Sends as fast as it can, files and all; resolves when all are handed over (us: accepted, bare: acknowledged). */
  saturate(count: number, tag: string): Promise<void>
  /** Sends at a rate what has been made ready before (us: files are uploaded); resolves to what was due, by WhatsApp id. */
  pace(count: number, rate: number, tag: string): Promise<Map<string, Due>>
  stop(): Promise<void>
}

const BARE = '5511999980001'

export async function startBare(world: World): Promise<SendTarget> {
  const bare = startBareProcess<Order>('bare-client.ts')
  const { wsUrl, httpUrl, rootPublicKeyHex, caPem } = world.simulator
  await bare.order({ type: 'pair', wsUrl, httpUrl, rootPublicKeyHex, caPem, phone: BARE })
  const recipients = await world.recipientsOf(BARE)
  return {
    name: 'bare',
    pid: bare.pid,
    async saturate(count, tag) {
      await bare.order({ type: 'send', recipients, count, concurrency: 8, tag })
    },
    async pace(count, rate, tag) {
      const { startedAt = Number.NaN } = await bare.order({ type: 'pace', recipients, count, rate, tag })
      return new Map(Array.from({ length: count }, (_, index) => [bareId(tag, index), dueAt(startedAt, rate, index)]))
    },
    stop: bare.stop,
  }
}

export interface MiranteTargetOptions extends MiranteOptions {
  readonly name?: string
  readonly account?: string
}

export async function startMirante(
  world: World,
  { name = 'us', account = '5511999980002', ...options }: MiranteTargetOptions = {},
): Promise<SendTarget> {
  const env = { LOG_LEVEL: 'error', ...world.env, ...options.env }
  const mirante = await launchMirante({ simulator: world.simulator, ...options, env })
  const instanceId = await pairByQr(mirante, world.simulator, `bench ${name}`, account)
  const recipients = await world.recipientsOf(account)
  const poster = await createPoster({ url: mirante.url, instanceId })
  return {
    name,
    get pid() {
      return mirante.pid
    },
    async saturate(count, tag) {
      const samples = await openLoop({ rate: 5_000, count }, async (index) => {
        const item = itemAt(recipients, tag, index)
        await poster.post(item, await poster.upload(item))
        return true
      })
      const refused = samples.filter(({ ok }) => !ok).length
      if (refused > 0) throw new Error(`${refused} of ${count} messages were refused`)
    },
    async pace(count, rate, tag) {
      const uploaded: (string | undefined)[] = []
      for (let index = 0; index < count; index++) uploaded.push(await poster.upload(itemAt(recipients, tag, index)))
      const due = new Map<string, Due>()
      const startedAt = performance.timeOrigin + performance.now()
      await openLoop({ rate, count }, async (index) => {
        const whatsappId = await poster.post(itemAt(recipients, tag, index), uploaded[index])
        due.set(whatsappId, dueAt(startedAt, rate, index))
        return true
      })
      return due
    },
    async stop() {
      await poster.close()
      await mirante.stop()
    },
  }
}

const dueAt = (startedAt: number, rate: number, index: number): Due => ({
  index,
  at: startedAt + (index * 1_000) / rate,
})
