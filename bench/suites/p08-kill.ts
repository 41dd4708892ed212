/**
 * P8: kill -9 of the gateway, of the web process, of everything, in the middle of 500 sends with 10 in flight; the client
 * repeats each failed POST under its Idempotency-Key. Judged by what the simulated phones saw. `first_replay_ms` counts from
 * the kill to the next stanza at the server, so it includes noticing and starting again. The control, a sender that draws a
 * new WhatsApp id at each try, is `random-id` of test/chaos/control-process.ts.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { seededRandom } from '../../src/kernel/random.js'
import { type KillTarget, launchMirante, launchSimulator } from '../../test/support/launch.js'
import { pairByQr } from '../../test/support/pair.js'
import { closedLoop } from '../lib/load.js'
import { arrivals } from '../lib/stanzas.js'
import type { Suite } from '../lib/suite.js'
import { contacts } from './p04-saturated.js'

const MESSAGES = 500
const CHATS = 10
type Target = Extract<KillTarget, 'gateway' | 'web'> | 'everything'
const TARGETS: readonly Target[] = ['gateway', 'web', 'everything']
/** What was on its way when the process died still arrives. */
const STRAGGLERS_MS = 50
const ACCOUNT = '5511999990002'

interface Verdict {
  readonly lost: number
  readonly doubledByText: number
  readonly reordered: number
  readonly reusedRatchetCounters: number
}

export const suite: Suite = {
  ids: ['P8'],
  durable: false,
  async run({ rounds, scale, seed, report, log }) {
    const random = seededRandom(seed)
    for (let round = 1; round <= rounds; round++) {
      for (const target of TARGETS) {
        const result = await killOnce({ target, afterMs: 200 + random() * 1_500, count: MESSAGES * scale, seed })
        log(`${target}: ${JSON.stringify(result)}`)
        for (const [metric, value] of Object.entries(result)) {
          report({ id: 'P8', target: 'us', round, metric, value })
        }
      }
    }
  },
}

async function killOnce(options: { target: Target; afterMs: number; count: number; seed: number }) {
  const { target, afterMs, count, seed } = options
  const simulator = await launchSimulator(['--latency-ms', '0', '--seed', String(seed)])
  const mirante = await launchMirante({ simulator, env: { LOG_LEVEL: 'error' } })
  try {
    const phones = await contacts(simulator, CHATS)
    const instanceId = await pairByQr(mirante, simulator, 'kill', ACCOUNT)
    const perChat = Math.ceil(count / CHATS)
    await simulator.admin('DELETE', '/admin/trace')
    const sending = closedLoop({ concurrency: CHATS, count: CHATS }, async (chat) => {
      for (let n = 1; n <= perChat; n++) await postUntilAccepted(chat, n)
      return true
    })
    await sleep(afterMs)
    const killedAt = performance.timeOrigin + performance.now()
    if (target === 'everything') {
      mirante.killAll()
      await mirante.restart()
    } else mirante.kill(target)
    await sending
    const arrived = await arrivals(simulator, perChat * CHATS, 120_000)
    const drainedAt = Math.max(...arrived.map(({ at }) => at))
    const verdict = await simulator.admin<Verdict>('GET', `/admin/verdict?account=${ACCOUNT}&first=1&last=${perChat}`)
    const after = arrived.filter(({ at }) => at > killedAt + STRAGGLERS_MS).map(({ at }) => at)
    return {
      lost: verdict.lost,
      doubled: verdict.doubledByText,
      reordered: verdict.reordered,
      reused_counters: verdict.reusedRatchetCounters,
      ...(target === 'web' ? {} : { first_replay_ms: Math.min(...after) - killedAt }),
      drained_ms: drainedAt - killedAt,
    }

    async function postUntilAccepted(chat: number, n: number): Promise<void> {
      for (;;) {
        const body = { instanceId, to: phones[chat], type: 'text', text: { body: `chat-${chat} #${n}` } }
        const answer = await mirante
          .api('POST', '/api/messages', { body, headers: { 'idempotency-key': `${chat}-${n}` }, timeoutMs: 5_000 })
          .catch(() => undefined)
        if (answer?.status === 202) return
        await sleep(50)
      }
    }
  } finally {
    await mirante.stop()
    await simulator.stop()
  }
}
