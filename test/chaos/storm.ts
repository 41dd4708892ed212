/**
 * A storm: messages out and in, while processes are killed with -9 at random moments. The simulator outlives them and judges
 * from what its phones saw; webhooks and the API are compared with what its contacts sent. Everything random comes from the
 * seed, except the timing of the machine itself.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { type Random, seededRandom } from '../../src/kernel/random.js'
import { eventually } from '../support/eventually.js'
import {
  type KillTarget,
  launchMirante,
  launchSimulator,
  type MiranteOptions,
  type MiranteProcess,
  type SimulatorProcess,
} from '../support/launch.js'
import { pairByQr } from '../support/pair.js'
import { postUntilAccepted } from '../support/patient-client.js'
import { startWebhookReceiver } from '../support/webhook-receiver.js'

export interface StormOptions {
  readonly seed: number
  readonly chats: number
  readonly messagesPerChat: number
  readonly inboundPerChat: number
  /** Messages a second over all chats. */
  readonly rate: number
  /** What is killed, in this order; the moments between are random. */
  readonly kills: readonly KillTarget[]
  readonly pauseMs: { readonly min: number; readonly max: number }
  /** What else happens during the load, after the kills. */
  readonly disturb?: (simulator: SimulatorProcess) => Promise<void>
  readonly mirante?: MiranteOptions
  /** How long to wait for everything to be settled. Default: four minutes. */
  readonly settleWithinMs?: number
  readonly simulatorFlags?: readonly string[]
  readonly log: (line: string) => void
}

export interface StormVerdict {
  readonly sent: number
  readonly lost: number
  readonly shownTwice: number
  readonly reordered: number
  readonly undecryptable: number
  readonly reusedCounters: number
  readonly resentUnderSameId: number
  readonly inboundSent: number
  readonly inboundLost: number
  readonly inboundStoredTwice: number
  readonly inboundReordered: number
  readonly webhooksMissing: number
  readonly webhooksForged: number
  readonly notSettled: number
  /** Answered with 202, and not in the database. */
  readonly acceptedMissing: number
  /** After the number was paired. */
  readonly qrsAsked: number
  /** From the last kill, or the last accepted message if that came later, until all was settled; undefined: never. */
  readonly settledMs: number | undefined
}

const ACCOUNT = '5511999990001'
const SETTLE_WITHIN_MS = 240_000

export async function runStorm(options: StormOptions): Promise<StormVerdict> {
  const { seed, chats, log } = options
  const random = seededRandom(seed)
  const simulator = await launchSimulator([
    '--seed',
    String(seed),
    '--latency-ms',
    '0',
    ...(options.simulatorFlags ?? []),
  ])
  const receiver = await startWebhookReceiver()
  const mirante = await launchMirante({ simulator, ...options.mirante })
  try {
    const phones = Array.from({ length: chats }, (_, index) => `5511988${String(700_000 + index)}`)
    const made = await simulator.admin<{ contacts: readonly { phone: string; lid: string }[] }>(
      'POST',
      '/admin/contacts',
      {
        phones,
        receipts: 'delivered',
      },
    )
    // Every other one is written to by LID: there a session goes on over a crash, and so do its counters.
    const addresses = made.contacts.map(({ phone, lid }, chat) => (chat % 2 === 0 ? `+${phone}` : `${lid}@lid`))
    const instanceId = await pairByQr(mirante, simulator, 'storm', ACCOUNT)
    const endpoint = await mirante.api('POST', '/api/webhooks', {
      body: { url: receiver.url, events: ['message.received'] },
    })
    receiver.trust(endpoint.body.secret)
    const qrsAtFirst = await qrsShown(mirante)
    const load = sendAll(mirante, instanceId, addresses, options)
    const inbound = receiveAll(simulator, phones, options)
    await killAll(mirante, random, options)
    await options.disturb?.(simulator)
    const accepted = await load
    await inbound
    const calmSince = performance.now()
    log('no more kills, all is sent; waiting until it is settled')
    const settled = await settle({ mirante, simulator, receiver, phones, options }).then(
      () => true,
      (error: unknown) => {
        log(String(error))
        return false
      },
    )
    const settledMs = settled ? performance.now() - calmSince : undefined
    const verdict = await judge({ mirante, simulator, receiver, phones, options })
    const acceptedMissing = await countMissing(mirante, accepted)
    return { ...verdict, acceptedMissing, qrsAsked: (await qrsShown(mirante)) - qrsAtFirst, settledMs }
  } finally {
    await mirante.stop()
    await simulator.stop()
    await receiver.stop()
  }
}

// The load

/** Each chat in order: the next message is posted when the one before was accepted. A client that never gives up. Resolves to all ids. */
async function sendAll(
  mirante: MiranteProcess,
  instanceId: string,
  addresses: readonly string[],
  { messagesPerChat, rate, chats, seed }: StormOptions,
): Promise<ReadonlySet<string>> {
  const accepted = new Set<string>()
  const perChatMs = (1_000 * chats) / rate
  await Promise.all(
    addresses.map(async (to, chat) => {
      await sleep((perChatMs * chat) / chats)
      for (let n = 1; n <= messagesPerChat; n++) {
        const startedAt = performance.now()
        const { body } = await postUntilAccepted(mirante, `${seed}-${chat}-${n}`, {
          instanceId,
          to,
          type: 'text',
          text: { body: `chat-${chat} #${n}` },
        })
        accepted.add(body.id)
        await sleep(Math.max(0, perChatMs - (performance.now() - startedAt)))
      }
    }),
  )
  return accepted
}

async function receiveAll(
  simulator: SimulatorProcess,
  phones: readonly string[],
  { inboundPerChat, messagesPerChat, rate, chats }: StormOptions,
): Promise<void> {
  if (inboundPerChat === 0) return
  const seconds = (messagesPerChat * chats) / rate
  await Promise.all(
    phones.map((phone) =>
      simulator.admin('POST', `/admin/contacts/${phone}/send`, {
        to: ACCOUNT,
        text: 'inbound',
        count: inboundPerChat,
        ratePerSecond: inboundPerChat / seconds,
      }),
    ),
  )
}

// The kills

async function killAll(mirante: MiranteProcess, random: Random, { kills, pauseMs, log }: StormOptions): Promise<void> {
  for (const [index, target] of kills.entries()) {
    await sleep(pauseMs.min + random() * (pauseMs.max - pauseMs.min))
    const killed = mirante.kill(target)
    log(`kill ${index + 1}/${kills.length}: ${target}${killed ? '' : ' (was not running)'}`)
    if (!mirante.alive || (target === 'supervisor' && killed)) await mirante.restart()
    else await mirante.ready()
  }
}

/** A seeded choice of targets: every process gets its share. */
export function chooseKills(count: number, seed: number): KillTarget[] {
  const random = seededRandom(seed ^ 0x5eed)
  const share: readonly KillTarget[] = ['gateway', 'gateway', 'web', 'web', 'supervisor', 'postgres']
  return Array.from({ length: count }, () => share[Math.floor(random() * share.length)] ?? 'gateway')
}

// The judgement

interface Scene {
  readonly mirante: MiranteProcess
  readonly simulator: SimulatorProcess
  readonly receiver: Awaited<ReturnType<typeof startWebhookReceiver>>
  readonly phones: readonly string[]
  readonly options: StormOptions
}

interface SimulatorVerdict {
  readonly distinct: number
  readonly lost: number
  readonly doubledById: number
  readonly doubledByText: number
  readonly reordered: number
  readonly undecryptable: number
  readonly reusedRatchetCounters: number
  readonly undeliveredInbound: number
  readonly inboundSent: number
}

const verdictOf = (simulator: SimulatorProcess, { messagesPerChat }: StormOptions): Promise<SimulatorVerdict> =>
  simulator.admin('GET', `/admin/verdict?account=${ACCOUNT}&first=1&last=${messagesPerChat}`)

async function settle(scene: Scene): Promise<void> {
  const { mirante, simulator, receiver, options } = scene
  const { chats, messagesPerChat, inboundPerChat, settleWithinMs = SETTLE_WITHIN_MS } = options
  await eventually(
    async () => {
      const verdict = await verdictOf(simulator, options)
      return (
        verdict.distinct >= chats * messagesPerChat &&
        verdict.inboundSent >= chats * inboundPerChat &&
        verdict.undeliveredInbound === 0
      )
    },
    'the simulator saw everything',
    settleWithinMs,
  )
  options.log('everything has reached the phones and the number')
  await eventually(
    async () => (await unsettled(mirante)) === 0 && receivedTexts(receiver).size >= chats * inboundPerChat,
    'every status and every webhook arrived',
    settleWithinMs,
  )
}

async function unsettled(mirante: MiranteProcess): Promise<number> {
  let count = 0
  for (const status of ['queued', 'sending', 'unknown', 'failed'] as const) {
    const { body } = await mirante.api('GET', `/api/messages?status=${status}&direction=outbound&limit=200`)
    count += body.data.length
  }
  return count
}

/** Inbound messages that a verified webhook told of, by chat and text. */
const receivedTexts = (receiver: Scene['receiver']): Set<string> =>
  new Set(receiver.verified.map(({ payload }) => `${payload.data.chat.waId} ${payload.data.text?.body}`))

async function judge(scene: Scene): Promise<Omit<StormVerdict, 'settledMs' | 'acceptedMissing' | 'qrsAsked'>> {
  const { mirante, simulator, receiver, phones, options } = scene
  const { inboundPerChat, chats, messagesPerChat } = options
  const verdict = await verdictOf(simulator, options)
  const stored = (await storedInbound(mirante)).toReversed()
  const expected = phones.flatMap((phone) =>
    Array.from({ length: inboundPerChat }, (_, index) => `${phone} inbound #${index + 1}`),
  )
  const seen = new Set(stored)
  const told = receivedTexts(receiver)
  return {
    sent: chats * messagesPerChat,
    lost: verdict.lost,
    shownTwice: verdict.doubledByText,
    reordered: verdict.reordered,
    undecryptable: verdict.undecryptable,
    reusedCounters: verdict.reusedRatchetCounters,
    resentUnderSameId: verdict.doubledById,
    inboundSent: verdict.inboundSent,
    inboundLost: expected.filter((text) => !seen.has(text)).length,
    inboundStoredTwice: stored.length - seen.size,
    inboundReordered: reorderedPerChat(stored),
    webhooksMissing: expected.filter((text) => !told.has(text)).length,
    webhooksForged: receiver.refused.length,
    notSettled: await unsettled(mirante),
  }
}

/** `<waId> <text>` of every stored inbound message, the newest first. */
const storedInbound = (mirante: MiranteProcess): Promise<string[]> =>
  eachMessage(mirante, 'inbound', ({ chat, text }) => `${chat.waId} ${text?.body}`)

async function countMissing(mirante: MiranteProcess, accepted: ReadonlySet<string>): Promise<number> {
  const stored = new Set(await eachMessage(mirante, 'outbound', ({ id }) => id))
  return [...accepted].filter((id) => !stored.has(id)).length
}

interface StoredMessage {
  readonly id: string
  readonly chat: { readonly waId: string }
  readonly text?: { readonly body: string }
}

async function eachMessage(
  mirante: MiranteProcess,
  direction: 'inbound' | 'outbound',
  pick: (message: StoredMessage) => string,
): Promise<string[]> {
  const picked: string[] = []
  let cursor = ''
  do {
    const { body } = await mirante.api('GET', `/api/messages?direction=${direction}&limit=200${cursor}`)
    picked.push(...body.data.map(pick))
    cursor = body.nextCursor ? `&cursor=${body.nextCursor}` : ''
  } while (cursor)
  return picked
}

async function qrsShown(mirante: MiranteProcess): Promise<number> {
  const { body } = await mirante.api('GET', '/api/events?types=instance.qr_updated&limit=200')
  return body.data.length
}

function reorderedPerChat(stored: readonly string[]): number {
  const highest = new Map<string, number>()
  let reordered = 0
  for (const text of stored) {
    const chat = text.slice(0, text.indexOf(' '))
    const n = Number(/#(\d+)$/.exec(text)?.[1] ?? 0)
    if (n < (highest.get(chat) ?? 0)) reordered += 1
    highest.set(chat, Math.max(n, highest.get(chat) ?? 0))
  }
  return reordered
}
