/**
 * One round: messages go both ways, the process dies at a crash point (sometimes once more while it repairs), is started
 * again, and everything comes to rest; then what both sides have is compared with what both sides wrote.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Random } from '../../src/kernel/random.js'
import { compare } from '../support/compare-texts.js'
import { eventually } from '../support/eventually.js'
import { postUntilAccepted } from '../support/patient-client.js'
import { ACCOUNT, type Arming, type CrashWorld, type Friend } from './crash-world.js'

export interface RoundOptions {
  readonly name: string
  readonly point: string
  readonly random: Random
  readonly crashWithinMs?: number
  readonly settleWithinMs?: number
}

export interface RoundVerdict {
  /** How often it died at the point: 1, or 2 when it died again while repairing. */
  readonly crashes: number
  readonly sent: number
  readonly received: number
  readonly reusedCounters: number
  /** At the contacts, beyond what the round garbled on purpose. */
  readonly undecryptable: number
  readonly lost: number
  readonly shownTwice: number
  readonly reordered: number
  readonly inboundLost: number
  readonly inboundStoredTwice: number
  readonly inboundReordered: number
  /** Contacts' messages for which no receipt came. */
  readonly unreceipted: number
  readonly eventsTwice: number
  /** Messages and raw entries that never came to rest. */
  readonly stuck: number
  /** Messages whose delivery receipt was acknowledged and then lost with the process. */
  readonly receiptsLost: number
}

/** One person: what we sent and what came, in this round, in order. */
interface Chat extends Friend {
  readonly sent: string[]
  readonly written: string[]
  /** Messages of its inbox that are of earlier rounds. */
  readonly seenBefore: number
}

// Bounds against hanging: what never dies, or never comes to rest, fails.
const CRASH_WITHIN_MS = 120_000
const SETTLE_WITHIN_MS = 240_000
const DIES_AGAIN_WITHIN_MS = 10_000
const MAX_HIT = 12
/** Messages each way and chat after the restart: that it works again is part of the promise. */
const AFTERWARDS = 2
const PAUSE_MS = { sending: 25, writing: 60, whileDown: 400 }
const CRASH_AGAIN = 1 / 4
const LIVE_ON: Arming = { point: null, hit: 0 }

export async function runRound(world: CrashWorld, options: RoundOptions): Promise<RoundVerdict> {
  const { name, point, random } = options
  const { crashWithinMs = CRASH_WITHIN_MS, settleWithinMs = SETTLE_WITHIN_MS } = options
  const before = await marksOf(world)
  const chats = await Promise.all([...world.friends, await world.stranger()].map((friend) => chatWith(world, friend)))
  const garbled = point === 'at-retry' ? await garble(world, chats, random) : 0

  const hit = point === 'at-retry' ? 1 : 1 + Math.floor(random() * MAX_HIT)
  if (!(await world.arm({ point, hit }))) throw new Error('it died before it was armed')
  const [crashed, over] = [new AbortController(), new AbortController()]
  const talking = Promise.all(
    chats.flatMap((chat) => [
      send({ world, chat, round: name, crashed: crashed.signal, over: over.signal }),
      ...(chat.writes ? [write({ world, chat, round: name, crashed: crashed.signal, over: over.signal })] : []),
    ]),
  )
  try {
    await Promise.race([
      eventually(() => !world.mirante.alive, `it dies ${point} (${hit})`, crashWithinMs),
      talking.then(() => undefined),
    ])
    crashed.abort()
    const crashes = await restart(world, options)
    over.abort()
    await talking
    await disarm(world)
    const settled = await settle(world, chats, before, settleWithinMs)
    if (!settled) console.log(`  ${name}: not settled`, JSON.stringify(await world.count()))
    return { crashes, ...(await judge(world, chats, before, garbled)) }
  } finally {
    over.abort()
    await talking.catch(() => undefined)
  }
}

// The crash

/** Started again; now and then it dies once more at the same point, early, while it repairs. Resolves to all its deaths. */
async function restart(world: CrashWorld, { point, random }: RoundOptions): Promise<number> {
  assertDiedOf(world, point)
  const isDead = (): boolean => !world.mirante.alive
  const again = random() < CRASH_AGAIN
  if (again) world.armNext({ point, hit: 1 + Math.floor(random() * 3) })
  const survived = await world.mirante.restart().then(
    () => world.mirante.alive,
    () => false,
  )
  if (!again) {
    if (!survived) throw new Error('it died without having been told to')
    return 1
  }
  if (survived) await eventually(isDead, 'it dies again', DIES_AGAIN_WITHIN_MS).catch(() => undefined)
  // Told to live on: else it might die when nobody looks any more.
  if (await world.arm(LIVE_ON)) return 1
  assertDiedOf(world, point)
  await world.mirante.restart()
  return 2
}

async function disarm(world: CrashWorld): Promise<void> {
  if (await world.arm(LIVE_ON)) return
  world.epitaph()
  await world.mirante.restart()
}

function assertDiedOf(world: CrashWorld, point: string): void {
  const epitaph = world.epitaph()
  if (epitaph?.point !== point) throw new Error(`it died of ${epitaph?.point ?? 'something else'}, not ${point}`)
}

// The traffic

interface Talk {
  readonly world: CrashWorld
  readonly chat: Chat
  readonly round: string
  readonly crashed: AbortSignal
  readonly over: AbortSignal
}

async function send({ world, chat, round, crashed, over }: Talk): Promise<void> {
  for (let left = AFTERWARDS; left > 0; left -= over.aborted ? 1 : 0) {
    const body = `${round}, to you, ${chat.sent.length + 1}`
    chat.sent.push(body)
    await postUntilAccepted(world.mirante, `${chat.phone} ${body}`.replaceAll(' ', '-'), {
      instanceId: world.instanceId,
      to: chat.to,
      type: 'text',
      text: { body },
    })
    await sleep(isDown(crashed, over) ? PAUSE_MS.whileDown : PAUSE_MS.sending)
  }
}

async function write({ world, chat, round, crashed, over }: Talk): Promise<void> {
  for (let left = AFTERWARDS; left > 0; left -= over.aborted ? 1 : 0) {
    const text = `${round}, to us, ${chat.written.length + 1}`
    chat.written.push(text)
    await world.simulator.admin('POST', `/admin/contacts/${chat.phone}/send`, { to: ACCOUNT, text })
    await sleep(isDown(crashed, over) ? PAUSE_MS.whileDown : PAUSE_MS.writing)
  }
}

const isDown = (crashed: AbortSignal, over: AbortSignal): boolean => crashed.aborted && !over.aborted

/** One contact fails to decrypt one message, and asks for it again. */
async function garble(world: CrashWorld, [chat]: readonly Chat[], random: Random): Promise<number> {
  const rule = { action: 'garble', contact: chat?.phone, after: Math.floor(random() * 5) }
  await world.simulator.admin('POST', '/admin/faults', rule)
  return 1
}

// The judgement

interface Marks {
  readonly newestInbound: string
  readonly inbound: number
  readonly undelivered: number
  readonly eventsTwice: number
  readonly reusedRatchetCounters: number
  readonly undecryptable: number
}

interface SimulatorVerdict {
  readonly reusedRatchetCounters: number
  readonly undecryptable: number
  readonly undeliveredInbound: number
}

const verdictOf = ({ simulator }: CrashWorld): Promise<SimulatorVerdict> =>
  simulator.admin('GET', `/admin/verdict?account=${ACCOUNT}`)

async function marksOf(world: CrashWorld): Promise<Marks> {
  const [{ inbound, undelivered, eventsTwice }, { reusedRatchetCounters, undecryptable }, newest] = await Promise.all([
    world.count(),
    verdictOf(world),
    world.mirante.api('GET', '/api/messages?direction=inbound&limit=1'),
  ])
  const newestInbound = newest.body.data[0]?.id ?? ''
  return { inbound, undelivered, eventsTwice, reusedRatchetCounters, undecryptable, newestInbound }
}

async function chatWith(world: CrashWorld, friend: Friend): Promise<Chat> {
  return { ...friend, sent: [], written: [], seenBefore: (await shownTo(world, friend.phone, 0)).length }
}

async function shownTo({ simulator }: CrashWorld, phone: string, after: number): Promise<string[]> {
  const { messages } = await simulator.admin<{ messages: { text: string }[] }>(
    'GET',
    `/admin/contacts/${phone}/inbox?after=${after}`,
  )
  return messages.map(({ text }) => text)
}

function settle(world: CrashWorld, chats: readonly Chat[], before: Marks, withinMs: number): Promise<boolean> {
  const written = sum(chats, (chat) => chat.written.length)
  const isAtRest = async (): Promise<boolean> => {
    const { open, raw, inbound, undelivered } = await world.count()
    if (open > 0 || raw > 0 || undelivered > before.undelivered || inbound < before.inbound + written) return false
    const shown = await Promise.all(chats.map(({ phone, seenBefore }) => shownTo(world, phone, seenBefore)))
    if (chats.some(({ sent }, index) => (shown[index]?.length ?? 0) < sent.length)) return false
    return (await verdictOf(world)).undeliveredInbound === 0
  }
  return eventually(isAtRest, 'everything comes to rest', withinMs).then(
    () => true,
    () => false,
  )
}

async function judge(
  world: CrashWorld,
  chats: readonly Chat[],
  before: Marks,
  garbled: number,
): Promise<Omit<RoundVerdict, 'crashes'>> {
  const stored = await storedSince(world, before.newestInbound)
  const outward = await Promise.all(
    chats.map(async ({ phone, sent, seenBefore }) => compare(sent, await shownTo(world, phone, seenBefore))),
  )
  const inward = chats.map(({ phone, written }) => compare(written, stored.get(phone) ?? []))
  const [verdict, count] = await Promise.all([verdictOf(world), world.count()])
  return {
    sent: sum(chats, ({ sent }) => sent.length),
    received: sum(chats, ({ written }) => written.length),
    reusedCounters: verdict.reusedRatchetCounters - before.reusedRatchetCounters,
    undecryptable: verdict.undecryptable - before.undecryptable - garbled,
    lost: sum(outward, ({ lost }) => lost),
    shownTwice: sum(outward, ({ surplus }) => surplus),
    // What came again on request came after what followed it.
    reordered: Math.max(0, sum(outward, ({ reordered }) => reordered) - garbled),
    inboundLost: sum(inward, ({ lost }) => lost),
    inboundStoredTwice: sum(inward, ({ surplus }) => surplus),
    inboundReordered: sum(inward, ({ reordered }) => reordered),
    unreceipted: verdict.undeliveredInbound,
    eventsTwice: count.eventsTwice - before.eventsTwice,
    stuck: count.open + count.failed + count.raw,
    receiptsLost: count.undelivered - before.undelivered,
  }
}

/** What the API lists of inbound messages newer than one, by person, the oldest first. */
async function storedSince({ mirante }: CrashWorld, newestBefore: string): Promise<Map<string, string[]>> {
  const byPhone = new Map<string, string[]>()
  let cursor = ''
  do {
    const { body } = await mirante.api('GET', `/api/messages?direction=inbound&limit=200${cursor}`)
    for (const message of body.data) {
      if (message.id <= newestBefore) return byPhone
      const texts = byPhone.get(message.chat.waId) ?? []
      byPhone.set(message.chat.waId, [message.text?.body ?? `(${message.type})`, ...texts])
    }
    cursor = body.nextCursor ? `&cursor=${body.nextCursor}` : ''
  } while (cursor)
  return byPhone
}

function sum<Item>(items: readonly Item[], of: (item: Item) => number): number {
  return items.reduce((total, item) => total + of(item), 0)
}
