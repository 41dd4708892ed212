import type { proto } from 'baileys'
import { giveTokenIfDue } from '../router/announce-token.js'
import { deliver } from '../router/deliver.js'
import type { Simulation } from '../simulation.js'
import { type Addressing, alongJid, jidIn, lidJid, otherAddressing, pnJid } from '../wire/jid.js'
import { type BinaryNode, el } from '../wire/node-codec.js'
import type { PreKeyBundle } from '../world/prekeys.js'
import type { Companion, Person } from '../world/world.js'
import { addressingIn, type Chat, jidOfChat, nameOfChat, readersOf } from './chat.js'
import {
  describeContent,
  editOf,
  isForPhonesOnly,
  mediaOf,
  mediaTypeOf,
  stanzaTypeOf,
  unwrapped,
} from './describe-content.js'
import type { Handset, SentCopy, SentMessage } from './handset.js'
import { handsetOf } from './handset-of.js'
import { showOnPhone } from './show-on-phone.js'
import type { Sealed } from './simulated-device.js'
import { takeCompanionBundle } from './take-bundle.js'

/** What companions get of a message that is for phones only. */
const WITHHELD = el('unavailable', { type: 'view_once' })

export type Writing = { author: Person; chat: Chat; content: proto.IMessage; id?: string | undefined }

/** A person writes on its phone, to all companions and phones of a chat. Encrypted once, now, also for those offline. */
export function writeMessage(sim: Simulation, { author, chat, content, id }: Writing): Promise<SentMessage> {
  const handset = handsetOf(sim, author)
  const message: SentMessage = {
    id: id ?? drawMessageId(sim, author),
    to: nameOfChat(chat),
    chat,
    text: describeContent(content).text,
    content,
    at: sim.now(),
    copies: new Map(),
  }
  handset.sent.set(message.id, message)
  const file = mediaOf(unwrapped(content))?.media
  if (file?.mediaKey && file.directPath) sim.media.remember(message.id, file.mediaKey, file.directPath)
  return handset.run(async () => {
    const writing = { sim, author, handset, message }
    // Whoever is blocked does not learn it: the server takes the message, and that is all.
    if (chat.kind === 'direct' && chat.person.blocked.has(author.phone)) return message
    const companions = readersOf(chat, author).flatMap((reader) => [...reader.companions.values()])
    if (isForPhonesOnly(content)) for (const companion of companions) handOut({ ...writing, companion }, [WITHHELD])
    else if (chat.kind === 'direct') for (const companion of companions) await sendCopy({ ...writing, companion })
    else if (companions.length > 0) await sendToGroup(writing, companions)
    for (const reader of readersOf(chat, author)) showOnPhone(sim, reader, author, message)
    if (chat.kind === 'direct') giveTokenIfDue(sim, author, chat.person)
    return message
  })
}

/** Ids are drawn per person, so a run with the same seed and the same order gives the same ids. */
export function drawMessageId(sim: Simulation, author: Person): string {
  const handset = handsetOf(sim, author)
  const bytes = sim.seeded.bytes(`message/${author.phone}/${handset.drawn++}`, 9)
  return `3A${bytes.toString('hex').toUpperCase()}`
}

export type RetryAsked = { author: Person; companion: Companion; id: string; bundle: PreKeyBundle | null }

/** A companion could not decrypt: the same message again, in a new envelope, with its new keys when it gave some. */
export function answerRetry(sim: Simulation, { author, companion, id, bundle }: RetryAsked): void {
  const handset = handsetOf(sim, author)
  const message = handset.sent.get(id)
  const copy = message?.copies.get(companion)
  if (!message || !copy) return
  copy.retries++
  const resend = handset.run(async () => {
    if (bundle) await handset.device.openSession(lidJid(companion.person.lid, companion.device), bundle)
    await sendCopy({ sim, author, handset, message, companion })
  })
  sim.inBackground(resend)
}

/** The same id re-encrypted without having been asked for. */
export function resendFreshly(sim: Simulation, author: Person, companion: Companion, id?: string): Promise<void> {
  const handset = handsetOf(sim, author)
  const message = handset.sent.get(id ?? '')
  if (!message) return Promise.resolve()
  return handset.run(() => sendCopy({ sim, author, handset, message, companion }))
}

/** From the phone to its owner's companion: keys of the app state, history. */
export function writeToOwnCompanion(sim: Simulation, companion: Companion, content: proto.IMessage): Promise<void> {
  const { person } = companion
  const handset = handsetOf(sim, person)
  return handset.run(async () => {
    const sealed = await seal(sim, handset, companion, content)
    const attrs = {
      from: pnJid(person.phone),
      id: drawMessageId(sim, person),
      type: 'text',
      category: 'peer',
      t: sim.seconds(),
    }
    deliver(sim, companion, el('message', attrs, [envelope(sealed)]))
  })
}

type Sending = { sim: Simulation; author: Person; handset: Handset; message: SentMessage }
type Copying = Sending & { companion: Companion }

/** One envelope for one companion: how a chat of two is written to, and how a group's reader is helped out. */
async function sendCopy(copying: Copying): Promise<void> {
  const { sim, author, handset, message, companion } = copying
  const { chat } = message
  const isRepeat = message.copies.has(companion)
  let content = message.content
  if (chat.kind !== 'direct') {
    const key = await handset.device.groupKey(jidOfChat(chat), ownJidIn(chat, author))
    content = { ...content, senderKeyDistributionMessage: key }
  } else if (companion.person === author) {
    content = { deviceSentMessage: { destinationJid: jidOfChat(chat, author), message: content } }
  }
  const sealed = await seal(sim, handset, companion, content)
  const count = isRepeat && chat.kind !== 'direct' ? (message.copies.get(companion)?.retries ?? 0) : undefined
  handOut(copying, [envelope(sealed, { mediatype: mediaTypeOf(message.content), count })])
}

/** Sealed once for all; the key to it goes along, in an envelope of its own, to companions that have not got it yet. */
async function sendToGroup(sending: Sending, companions: readonly Companion[]): Promise<void> {
  const { sim, author, handset, message } = sending
  const { chat } = message
  const [group, ownJid] = [jidOfChat(chat), ownJidIn(chat, author)]
  const holders = currentHolders(handset, chat, ownJid)
  const { sealed, distribution } = await handset.device.encryptForGroup(group, ownJid, message.content)
  for (const companion of companions) {
    const envelopes = [envelope(sealed, { mediatype: mediaTypeOf(message.content) })]
    // The key first: the library reads the envelopes in their order.
    if (!holders.has(companion)) envelopes.unshift(envelope(await seal(sim, handset, companion, distribution)))
    holders.add(companion)
    handOut({ ...sending, companion }, envelopes)
  }
}

function currentHolders(handset: Handset, chat: Chat, ownJid: string): Set<Companion> {
  const group = jidOfChat(chat)
  const departures = chat.kind === 'group' ? chat.group.departures : 0
  const known = handset.groupKeys.get(group)
  if (known?.departures === departures) return known.holders
  handset.device.forgetGroupKey(group, ownJid)
  const fresh = { departures, holders: new Set<Companion>() }
  handset.groupKeys.set(group, fresh)
  return fresh.holders
}

function handOut({ sim, author, message, companion }: Copying, envelopes: BinaryNode[]): void {
  const attrs = {
    ...senderAttrs(author, message.chat, companion),
    id: message.id,
    type: stanzaTypeOf(message.content),
    edit: editOf(message.content),
    t: sim.seconds(),
    notify: author.name,
  }
  const copy = message.copies.get(companion) ?? newCopy()
  message.copies.set(companion, copy)
  const delivery = deliver(sim, companion, el('message', attrs, envelopes))
  if (delivery) copy.deliveries.push(delivery)
}

async function seal(sim: Simulation, handset: Handset, companion: Companion, content: proto.IMessage): Promise<Sealed> {
  const remote = lidJid(companion.person.lid, companion.device)
  if (!(await handset.device.hasSession(remote))) {
    await handset.device.openSession(remote, takeCompanionBundle(sim, companion))
  }
  return handset.device.encrypt(remote, content)
}

function envelope({ type, ciphertext }: Sealed, attrs: Parameters<typeof el>[1] = {}): BinaryNode {
  return el('enc', { v: 2, type, ...attrs }, ciphertext)
}

function ownJidIn(chat: Chat, author: Person): string {
  return jidIn(addressingIn(chat, author), author)
}

function senderAttrs(author: Person, chat: Chat, companion: Companion) {
  const addressing = addressingIn(chat, author)
  const alternative = alongJid(otherAddressing(addressing), author)
  const mode = addressing === 'lid' ? addressing : undefined
  if (chat.kind !== 'direct') {
    const who = { participant: jidIn(addressing, author), [`participant_${otherAddressing(addressing)}`]: alternative }
    const username = author.habits.username ?? undefined
    return {
      from: jidOfChat(chat),
      ...who,
      participant_username: username,
      addressing_mode: chat.kind === 'group' ? addressing : mode,
    }
  }
  if (companion.person === author) return ownSenderAttrs(author, addressing, chat.person)
  return {
    from: jidIn(addressing, author),
    [`sender_${otherAddressing(addressing)}`]: alternative,
    addressing_mode: mode,
  }
}

/** What the owner wrote on the phone: it comes from oneself, and says to whom. */
function ownSenderAttrs(author: Person, addressing: Addressing, recipient: Person) {
  const other = otherAddressing(addressing)
  return {
    from: jidIn(addressing, author),
    recipient: jidIn(addressing, recipient),
    [`recipient_${other}`]: jidIn(other, recipient),
  }
}

function newCopy(): SentCopy {
  return { deliveries: [], deliveredAt: null, readAt: null, retries: 0, receipts: 0 }
}
