/** Targets that send through the simulator: bare Baileys and Mirante, each with one paired number and the same contacts. */
import { Pool } from 'undici'
import { launchMirante, type MiranteOptions, type SimulatorProcess, TEST_API_KEY } from '../../test/support/launch.js'
import { pairByQr } from '../../test/support/pair.js'
import { openLoop } from '../lib/load.js'
import type { Order } from './bare-client.js'
import { startBareProcess } from './bare-process.js'

export interface SendTarget {
  readonly name: string
  readonly pid: number
  /** Sends as fast as it can; resolves when all are handed over (us: accepted, bare: acknowledged). */
  saturate(count: number, tag: string): Promise<void>
  /** Sends at a rate; resolves to the due time (epoch ms) of each message by its WhatsApp id. */
  pace(count: number, rate: number, tag: string): Promise<Record<string, number>>
  stop(): Promise<void>
}

export async function startBare(simulator: SimulatorProcess, phones: readonly string[]): Promise<SendTarget> {
  const bare = startBareProcess<Order>('bare-client.ts')
  const { wsUrl, httpUrl, rootPublicKeyHex } = simulator
  await bare.order({ type: 'pair', wsUrl, httpUrl, rootPublicKeyHex })
  return {
    name: 'bare',
    pid: bare.pid,
    async saturate(count, tag) {
      await bare.order({ type: 'send', phones, count, concurrency: 8, tag })
    },
    pace: (count, rate, tag) => bare.order({ type: 'pace', phones, count, rate, tag }),
    stop: bare.stop,
  }
}

export async function startMirante(
  simulator: SimulatorProcess,
  phones: readonly string[],
  { name = 'us', ...options }: MiranteOptions & { readonly name?: string } = {},
): Promise<SendTarget> {
  const mirante = await launchMirante({ simulator, ...options, env: { LOG_LEVEL: 'error', ...options.env } })
  const instanceId = await pairByQr(mirante, simulator, `bench ${name}`)
  const http = new Pool(mirante.url, { connections: 32 })
  return {
    name,
    get pid() {
      return mirante.pid
    },
    async saturate(count, tag) {
      await openLoop({ rate: 5_000, count }, async (index) => (await post(index, tag)) !== undefined)
    },
    async pace(count, rate, tag) {
      const dueAt: Record<string, number> = {}
      const startedAt = performance.timeOrigin + performance.now()
      await openLoop({ rate, count }, async (index) => {
        const whatsappId = await post(index, tag)
        if (whatsappId) dueAt[whatsappId] = startedAt + (index * 1_000) / rate
        return whatsappId !== undefined
      })
      return dueAt
    },
    async stop() {
      await http.close()
      await mirante.stop()
    },
  }

  async function post(index: number, tag: string): Promise<string | undefined> {
    const { statusCode, body } = await http.request({
      method: 'POST',
      path: '/api/messages',
      headers: {
        authorization: `Bearer ${TEST_API_KEY}`,
        'content-type': 'application/json',
        'idempotency-key': `${tag}-${index}`,
      },
      body: JSON.stringify({
        instanceId,
        to: phones[index % phones.length],
        type: 'text',
        text: { body: `hello ${tag} #${index}` },
      }),
    })
    const answer = (await body.json()) as { whatsappId?: string }
    if (statusCode !== 202) throw new Error(`POST answered ${statusCode}: ${JSON.stringify(answer)}`)
    return answer.whatsappId
  }
}
