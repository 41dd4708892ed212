/**
 * P8: kill -9 of the gateway, of the web process, of everything, in the middle of 500 sends with 10 in flight; the client
 * repeats each failed POST, of files and of messages, under its Idempotency-Key. Judged by what the simulated phones saw: in
 * the mix a fifth of the chats are groups, in which every member is a reader, and files must be equal to the byte.
 * `first_replay_ms` counts from the kill to the next stanza at the server, so it includes noticing and starting again. The
 * control, a sender that draws a new WhatsApp id at each try, is `random-id` of test/chaos/control-process.ts.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { seededRandom } from '../../src/kernel/random.js'
import { type KillTarget, launchMirante } from '../../test/support/launch.js'
import { pairByQr } from '../../test/support/pair.js'
import { closedLoop } from '../lib/load.js'
import { type Item, type Mix, partIn, type Recipients } from '../lib/mix.js'
import { readAll } from '../lib/readers.js'
import { arrivals } from '../lib/stanzas.js'
import type { Suite } from '../lib/suite.js'
import { startWorld } from '../lib/world.js'
import { createPoster, type Poster } from '../targets/poster.js'

const MESSAGES = 500
const CHATS = 10
const GROUPS_IN_MIX = 2
type Target = Extract<KillTarget, 'gateway' | 'web'> | 'everything'
const TARGETS: readonly Target[] = ['gateway', 'web', 'everything']
/** What was on its way when the process died still arrives. */
const STRAGGLERS_MS = 50
const ACCOUNT = '5511999990002'
const POST_TIMEOUT_MS = 5_000

interface Verdict {
  readonly lost: number
  readonly doubledByText: number
  readonly reordered: number
  readonly reusedRatchetCounters: number
}

export const suite: Suite = {
  ids: ['P8'],
  durable: false,
  mixes: true,
  async run({ rounds, mix, scale, seed, report, log }) {
    const random = seededRandom(seed)
    for (let round = 1; round <= rounds; round++) {
      for (const target of TARGETS) {
        const result = await killOnce({ target, mix, afterMs: 200 + random() * 1_500, count: MESSAGES * scale, seed })
        log(`${target}: ${JSON.stringify(result)}`)
        for (const [metric, value] of Object.entries(result)) {
          report({ id: 'P8', target: 'us', round, metric, value })
        }
      }
    }
  },
}

interface KillOptions {
  readonly target: Target
  readonly mix: Mix
  readonly afterMs: number
  readonly count: number
  readonly seed: number
}

async function killOnce({ target, mix, afterMs, count, seed }: KillOptions) {
  const groups = mix === 'text' ? 0 : GROUPS_IN_MIX
  const world = await startWorld({ mix, seed, groups, contacts: CHATS - groups, phonesRead: true })
  const { simulator } = world
  const mirante = await launchMirante({ simulator, env: { LOG_LEVEL: 'error', ...world.env } })
  try {
    const instanceId = await pairByQr(mirante, simulator, 'kill', ACCOUNT)
    const poster = await createPoster({ url: mirante.url, instanceId, timeoutMs: POST_TIMEOUT_MS })
    const perChat = Math.ceil(count / CHATS)
    const chats = itemsOf(await world.recipientsOf(ACCOUNT), perChat)
    await simulator.admin('DELETE', '/admin/trace')
    const sending = closedLoop({ concurrency: CHATS, count: CHATS }, async (chat) => {
      for (const item of chats[chat] ?? []) await sendUntilAccepted(poster, item)
      return true
    })
    await sleep(afterMs)
    const killedAt = performance.timeOrigin + performance.now()
    if (target === 'everything') {
      mirante.killAll()
      await mirante.restart()
    } else mirante.kill(target)
    await sending
    await poster.close()
    const arrived = await arrivals(simulator, perChat * CHATS, 120_000)
    const drainedAt = Math.max(...arrived.map(({ at }) => at))
    const read = await readAll(simulator, world.phones, chats.flat())
    const verdict = await simulator.admin<Verdict>('GET', `/admin/verdict?account=${ACCOUNT}&first=1&last=${perChat}`)
    const after = arrived.filter(({ at }) => at > killedAt + STRAGGLERS_MS).map(({ at }) => at)
    return {
      lost: Math.max(verdict.lost, read.missing),
      doubled: verdict.doubledByText,
      reordered: verdict.reordered,
      wrong_bytes: read.wrongBytes,
      reused_counters: verdict.reusedRatchetCounters,
      ...(target === 'web' ? {} : { first_replay_ms: Math.min(...after) - killedAt }),
      drained_ms: drainedAt - killedAt,
    }
  } finally {
    await mirante.stop()
    await world.stop()
  }
}

/** Chat by chat, what is sent in it, in its order. */
function itemsOf({ mix, phones, groups }: Recipients, perChat: number): Item[][] {
  return [...phones, ...groups].map((to, chat) =>
    Array.from({ length: perChat }, (_, at) => {
      // Shifted, so that not all chats send their files at once.
      const { content } = partIn(mix, to.includes('@') ? 'group' : 'person', at + 3 * chat)
      return { key: `${chat}-${at + 1}`, to, content, words: `chat-${chat} #${at + 1}` }
    }),
  )
}

async function sendUntilAccepted(poster: Poster, item: Item): Promise<void> {
  const mediaId = await insist(() => poster.upload(item))
  await insist(() => poster.post(item, mediaId))
}

async function insist<Answer>(ask: () => Promise<Answer>): Promise<Answer> {
  for (;;) {
    const answer = await ask().then(
      (value) => ({ value }),
      () => undefined,
    )
    if (answer) return answer.value
    await sleep(50)
  }
}
