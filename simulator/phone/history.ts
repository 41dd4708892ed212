import { proto } from 'baileys'
import type { Simulation } from '../simulation.js'
import { jidIn, lidJid, pnJid } from '../wire/jid.js'
import { isTokenDue, mintToken } from '../world/privacy-tokens.js'
import type { Person } from '../world/world.js'
import { addressingIn, type Chat, jidOfChat, nameOfChat } from './chat.js'

const { HistorySyncType } = proto.HistorySync

/** A message from before the companion was linked. */
export type PastMessage = {
  readonly id: string
  readonly chat: Chat
  readonly author: Person
  readonly content: proto.IMessage
  /** Seconds since the epoch. */
  readonly at: number
}

/** Messages of a chat that come with the first chunk, for something to be on the screen; the rest follows. */
const FIRST_PER_CHAT = 20

/** The chunks in which a phone sends its history to a new companion. */
export function historyChunks(sim: Simulation, person: Person): proto.IHistorySync[] {
  const chats = byChat(sim.historyOf(person))
  const part = (from: number, to?: number) =>
    [...chats.values()].flatMap((messages) => {
      const chosen = messages.slice(from, to)
      return chosen.length > 0 ? [{ ...conversation(person, chosen), ...tokenFor(sim, person, messages) }] : []
    })
  const rest = part(FIRST_PER_CHAT)
  const people = [...chats.values()].flatMap((messages) => messages.map(({ author }) => author))
  const pushnames = [...new Set(people)].map(({ phone, name }) => ({ id: pnJid(phone), pushname: name }))
  const first = { syncType: HistorySyncType.INITIAL_BOOTSTRAP, conversations: part(0, FIRST_PER_CHAT) }
  const chunks: proto.IHistorySync[] = [first]
  if (pushnames.length > 0) chunks.push({ syncType: HistorySyncType.PUSH_NAME, pushnames })
  if (rest.length > 0) chunks.push({ syncType: HistorySyncType.RECENT, conversations: rest })
  return chunks.map((chunk, n) => ({
    ...chunk,
    chunkOrder: n + 1,
    progress: Math.round((100 * (n + 1)) / chunks.length),
  }))
}

/** Newest first, as histories are written. */
function byChat(messages: readonly PastMessage[]): Map<string, PastMessage[]> {
  const chats = new Map<string, PastMessage[]>()
  for (const message of messages) {
    const name = nameOfChat(message.chat)
    const known = chats.get(name)
    if (known) known.push(message)
    else chats.set(name, [message])
  }
  for (const chat of chats.values()) chat.sort((one, other) => other.at - one.at)
  return chats
}

function conversation(owner: Person, messages: readonly PastMessage[]): proto.IConversation {
  const chat = messages[0]?.chat
  const newest = messages[0]?.at ?? 0
  if (!chat) throw new Error('a conversation without messages')
  return {
    id: jidOfChat(chat, owner),
    ...namesOf(chat),
    conversationTimestamp: newest,
    messages: messages.map((message, n) => ({
      message: webMessage(owner, message),
      msgOrderId: messages.length - n,
    })),
  }
}

/** Whoever wrote has given a token with it. */
function tokenFor(sim: Simulation, owner: Person, messages: readonly PastMessage[]): Partial<proto.IConversation> {
  const chat = messages[0]?.chat
  if (chat?.kind !== 'direct' || !messages.some(({ author }) => author === chat.person)) return {}
  const { person: giver } = chat
  if (giver.habits.givesTokens && isTokenDue(giver, owner, sim.seconds())) {
    mintToken(sim.seeded, giver, owner, sim.seconds())
  }
  const token = owner.tokensFrom.get(giver.phone)
  return token ? { tcToken: token.bytes, tcTokenTimestamp: token.at } : {}
}

function namesOf(chat: Chat): Partial<proto.IConversation> {
  if (chat.kind === 'group') return { name: chat.group.subject }
  if (chat.kind === 'status') return {}
  const { phone, lid, name } = chat.person
  return { name, pnJid: pnJid(phone), lidJid: lidJid(lid) }
}

function webMessage(owner: Person, { id, chat, author, content, at }: PastMessage): proto.IWebMessageInfo {
  const fromMe = author === owner
  const { READ, DELIVERY_ACK } = proto.WebMessageInfo.Status
  const participant = chat.kind === 'direct' ? {} : { participant: jidIn(addressingIn(chat, owner), author) }
  return {
    key: { remoteJid: jidOfChat(chat, owner), fromMe, id, ...participant },
    message: content,
    messageTimestamp: at,
    status: fromMe ? READ : DELIVERY_ACK,
    ...participant,
    ...(fromMe ? {} : { pushName: author.name }),
  }
}
