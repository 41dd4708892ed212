import type { SentMessage } from '../phone/handset.js'
import type { InboxMessage } from '../phone/inbox.js'
import type { Simulation } from '../simulation.js'
import type { Person } from '../world/world.js'
import { stateOf } from './views.js'

export type ChatVerdict = {
  readonly contact: string
  /** The group, when it is not the chat of the two. */
  readonly group: string | null
  readonly distinct: number
  readonly lost: number[]
  readonly doubledById: number
  readonly doubledByText: number
  readonly reordered: number
  readonly undecryptable: number
  readonly reusedRatchetCounters: number
}

export type Verdict = {
  readonly received: number
  readonly distinct: number
  readonly lost: number
  readonly doubledById: number
  readonly doubledByText: number
  readonly reordered: number
  readonly undecryptable: number
  readonly reusedRatchetCounters: number
  /** Sent by contacts and without any receipt from the account's companions. */
  readonly undeliveredInbound: number
  readonly inboundSent: number
  /** Only the chats something is wrong in. */
  readonly troubled: ChatVerdict[]
  readonly undelivered: { contact: string; id: string; text: string; state: string }[]
}

/** Numbers every chat must have, when the judge knows more than the texts tell. */
export type Expected = { first?: number | undefined; last?: number | undefined }

const NUMBERED = /#(\d+)$/
const MAX_LISTED = 1000

/** The judge: was anything lost, doubled or reordered between this account and all contacts? */
export function judge(sim: Simulation, account: Person | undefined, expected: Expected = {}): Verdict {
  const contacts = [...sim.world.people.values()].filter((person) => person.handset?.hasKeys && person !== account)
  const chats = contacts.flatMap((contact) => judgeChats(contact, account, expected))
  const inbound = contacts.flatMap((contact) =>
    sentTo(contact, account).map((message) => ({ contact: contact.phone, message, state: stateOf(message) })),
  )
  const undelivered = inbound.filter(({ state }) => state !== 'delivered' && state !== 'read')
  const ownReuse = account?.handset?.copies.counts.reusedCounters ?? 0
  return {
    received: sum(chats, (chat) => chat.distinct + chat.doubledById),
    distinct: sum(chats, (chat) => chat.distinct),
    lost: sum(chats, (chat) => chat.lost.length),
    doubledById: sum(chats, (chat) => chat.doubledById),
    doubledByText: sum(chats, (chat) => chat.doubledByText),
    reordered: sum(chats, (chat) => chat.reordered),
    undecryptable: sum(chats, (chat) => chat.undecryptable),
    reusedRatchetCounters: ownReuse + sum(chats, (chat) => chat.reusedRatchetCounters),
    undeliveredInbound: undelivered.length,
    inboundSent: inbound.length,
    troubled: chats.filter(isTroubled).slice(0, MAX_LISTED),
    undelivered: undelivered
      .slice(0, MAX_LISTED)
      .map(({ contact, message, state }) => ({ contact, id: message.id, text: message.text, state })),
  }
}

/** The numbers `#n` at the end of a chat's texts, in the order its reader first saw them. */
export function judgeNumbers(numbers: readonly number[], { first, last }: Expected = {}) {
  const seen = new Set<number>()
  let highest = Number.NEGATIVE_INFINITY
  let doubled = 0
  let reordered = 0
  for (const number of numbers) {
    if (seen.has(number)) {
      doubled++
      continue
    }
    seen.add(number)
    if (number < highest) reordered++
    highest = Math.max(highest, number)
  }
  const from = first ?? (seen.has(0) ? 0 : 1)
  const to = last ?? (seen.size > 0 ? highest : from - 1)
  const lost: number[] = []
  for (let number = from; number <= to; number++) if (!seen.has(number)) lost.push(number)
  return { doubled, reordered, lost }
}

/** The chat of the two, and one chat for each group in which the contact has read the account. */
function judgeChats(contact: Person, account: Person | undefined, expected: Expected): ChatVerdict[] {
  const byChat = new Map<string | null, InboxMessage[]>([[null, []]])
  for (const message of contact.handset?.inbox.messages ?? []) {
    // What other simulated phones wrote proves nothing about a client.
    if (message.device === 0 || (account && message.from !== account.phone)) continue
    const chat = byChat.get(message.group)
    if (chat) chat.push(message)
    else byChat.set(message.group, [message])
  }
  return [...byChat].map(([group, messages]) => judgeChat({ contact, group, messages, expected }))
}

type Chat = { contact: Person; group: string | null; messages: InboxMessage[]; expected: Expected }

function judgeChat({ contact, group, messages, expected }: Chat): ChatVerdict {
  const numbers = messages.flatMap(numberOf)
  const isExpected = group === null && expected.last !== undefined
  const { lost, doubled, reordered } =
    numbers.length > 0 || isExpected ? judgeNumbers(numbers, expected) : { lost: [], doubled: 0, reordered: 0 }
  // What could not be read belongs to no chat; it is counted once.
  const counts = group === null ? contact.handset?.inbox.counts : undefined
  return {
    contact: contact.phone,
    group,
    distinct: messages.length,
    lost,
    doubledById: sum(messages, ({ repeats }) => repeats),
    doubledByText: doubled,
    reordered,
    undecryptable: counts?.undecryptable ?? 0,
    reusedRatchetCounters: counts?.reusedCounters ?? 0,
  }
}

function numberOf({ text }: InboxMessage): number[] {
  const found = NUMBERED.exec(text)?.[1]
  return found === undefined ? [] : [Number(found)]
}

function sentTo(contact: Person, account: Person | undefined): SentMessage[] {
  return [...(contact.handset?.sent.values() ?? [])].filter(({ chat, copies }) => {
    if (chat.kind === 'direct') return account ? chat.person === account : chat.person.isAccount
    return [...copies.keys()].some(({ person }) => !account || person === account)
  })
}

/** A repeat by id is dropped by the reader and troubles nobody. */
function isTroubled(chat: ChatVerdict): boolean {
  return chat.lost.length + chat.doubledByText + chat.reordered + chat.undecryptable + chat.reusedRatchetCounters > 0
}

function sum<T>(items: readonly T[], of: (item: T) => number): number {
  return items.reduce((total, item) => total + of(item), 0)
}
