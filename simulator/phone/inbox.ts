import { proto } from 'baileys'
import { describeContent } from './describe-content.js'

/** One message as its reader sees it: shown once, however often it came. */
export type InboxMessage = {
  readonly whatsappId: string
  /** The text or caption. */
  readonly text: string
  /** `text`, or the name of the content field of anything else. */
  readonly kind: string
  /** The number of whoever wrote it. */
  readonly from: string
  /** The group or broadcast it came in; null in a chat of two. */
  readonly group: string | null
  readonly at: number
  /** Place in the order of first arrival, from 1. */
  readonly seq: number
  /** How often it came again under the same id. */
  repeats: number
  /** The device that wrote it, and the chat as that device addressed it: receipts go back there. */
  readonly device: number
  readonly address: string
  /** The decrypted content, as bytes: there may be a hundred thousand of these. Null when nobody decrypts. */
  readonly encoded: Uint8Array | null
  /** What became of the file it names. */
  media: ReadMedia | null
  /** The options its vote chose; null when it cannot be read or is none. */
  vote: readonly string[] | null
  /** Its text after the last edit; null when nobody edited it. */
  edited: string | null
  /** Whether it was deleted for everyone. */
  deleted: boolean
}

export type ReadMedia = { readonly bytes: number; readonly sha256: string } | { readonly error: string }

export type InboxCounts = {
  received: number
  distinct: number
  repeatedById: number
  /** Another id with a text this chat had already shown: the reader sees it twice. */
  repeatedByText: number
  undecryptable: number
  reusedCounters: number
  /** Came again under a known id, but with another text. */
  changedUnderSameId: number
}

export type Shown = Pick<InboxMessage, 'from' | 'group' | 'at' | 'device' | 'address'> & {
  readonly id: string
  /** Null when it was not decrypted. */
  readonly content: proto.IMessage | null
}

export type Inbox = {
  readonly messages: readonly InboxMessage[]
  readonly counts: InboxCounts
  has(from: string, id: string): boolean
  find(id: string): InboxMessage | undefined
  /** Notes an arrival; the message when it was new to the reader. */
  add(arrival: Shown): InboxMessage | null
  /** The very bytes came again and were not decrypted a second time. */
  repeat(from: string, id: string): void
}

export function createInbox(): Inbox {
  const messages: InboxMessage[] = []
  const byKey = new Map<string, InboxMessage>()
  const byId = new Map<string, InboxMessage>()
  const texts = new Set<string>()
  const counts: InboxCounts = {
    received: 0,
    distinct: 0,
    repeatedById: 0,
    repeatedByText: 0,
    undecryptable: 0,
    reusedCounters: 0,
    changedUnderSameId: 0,
  }

  const repeat = (from: string, id: string) => {
    counts.received++
    counts.repeatedById++
    const known = byKey.get(`${from} ${id}`)
    if (known) known.repeats++
    return known
  }
  const countText = ({ from, group, kind, text }: InboxMessage) => {
    if (kind !== 'text') return
    const key = `${from} ${group ?? ''} ${text}`
    if (texts.has(key)) counts.repeatedByText++
    texts.add(key)
  }
  return {
    messages,
    counts,
    has: (from, id) => byKey.has(`${from} ${id}`),
    find: (id) => byId.get(id),
    add(shown) {
      const { id, from } = shown
      const fresh = newMessage(shown, messages.length + 1)
      if (byKey.has(`${from} ${id}`)) {
        if (repeat(from, id)?.text !== fresh.text) counts.changedUnderSameId++
        return null
      }
      messages.push(fresh)
      byKey.set(`${from} ${id}`, fresh)
      byId.set(id, fresh)
      counts.received++
      counts.distinct++
      countText(fresh)
      return fresh
    },
    repeat,
  }
}

export function contentOf({ encoded }: Pick<InboxMessage, 'encoded'>): proto.IMessage {
  return encoded ? proto.Message.decode(encoded) : {}
}

const UNCHANGED = { media: null, vote: null, edited: null, deleted: false }

function newMessage({ id, content, ...shown }: Shown, seq: number): InboxMessage {
  const { text, kind } = content ? describeContent(content) : { text: '', kind: 'sealed' }
  const encoded = content && proto.Message.encode(content).finish()
  return { whatsappId: id, text, kind, ...shown, seq, repeats: 0, encoded, ...UNCHANGED }
}
