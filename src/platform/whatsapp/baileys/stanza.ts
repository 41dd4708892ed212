/**
 * Reads from raw stanzas what a connection must know at once: receipts and acknowledgements above all, since Baileys merges
 * some of them away (fault S7). Pure.
 */
import type { BinaryNode } from 'baileys'
import { isStorable } from '../../../kernel/storable-text.js'
import { type Counterparts, isSame, parseJid, STATUS_JID, type WhatsAppAddress, withCounterpart } from '../jid.js'
import type { Receipt } from '../whatsapp.js'
import { fromSeconds } from './inbound.js'

export type StanzaReading =
  | { readonly kind: 'message' }
  | { readonly kind: 'answer'; readonly answer: Answer }
  /** Logged in. */
  | { readonly kind: 'success' }
  /** Baileys' business alone. */
  | { readonly kind: 'known' }
  | { readonly kind: 'unknown'; readonly detail: string }

/** Somebody answers for messages of ours: so WhatsApp's server has them, or refused them (`errorCode`). */
export interface Answer {
  readonly whatsappIds: readonly string[]
  readonly at: Date
  readonly errorCode?: string
  /** Absent when it says nothing about a recipient: the server, our own devices, a retry. */
  readonly receipts?: readonly Receipt[]
  /** The server knows of other devices of this person than those we wrote to. */
  readonly staleDevicesOf?: WhatsAppAddress
}

const STATUS_OF_TYPE: Readonly<Record<string, Receipt['status']>> = {
  '': 'delivered',
  /** Delivered to a device whose owner is not looking. */
  inactive: 'delivered',
  read: 'read',
  played: 'played',
}
const KNOWN_TAGS: ReadonlySet<string> = new Set([
  'call',
  'chatstate',
  'failure',
  'ib',
  'iq',
  'notification',
  'presence',
  'stream:error',
  'stream:features',
  'xmlstreamend',
])
const SERVERS_WITHOUT_PEOPLE: ReadonlySet<string> = new Set(['broadcast', 'newsletter'])

interface StanzaContext extends Counterparts {
  readonly me: WhatsAppAddress
  readonly now: number
}

export function readStanza(node: BinaryNode, context: StanzaContext): StanzaReading {
  switch (node.tag) {
    case 'message':
      return readMessage(node)
    case 'receipt':
      return readReceipt(node, context)
    case 'ack':
      return readAck(node, context)
    case 'success':
      return { kind: 'success' }
    default:
      return KNOWN_TAGS.has(node.tag) ? { kind: 'known' } : { kind: 'unknown', detail: shapeOf(node) }
  }
}

function readMessage({ attrs }: BinaryNode): StanzaReading {
  const server = attrs.from?.split('@')[1] ?? ''
  if (parseJid(attrs.from) || SERVERS_WITHOUT_PEOPLE.has(server)) return { kind: 'message' }
  return { kind: 'unknown', detail: `from ${server || 'nobody'}` }
}

function readReceipt(node: BinaryNode, context: StanzaContext): StanzaReading {
  const { attrs } = node
  const chat = parseJid(attrs.from)
  const told = chat?.groupJid ? readGrouped(node) : []
  const whatsappIds = told.length > 0 ? told.map(({ whatsappId }) => whatsappId) : idsOf(node)
  if (!chat || whatsappIds.length === 0) return { kind: 'known' }
  const at = atOf(node, context.now)
  const status = STATUS_OF_TYPE[attrs.type ?? '']
  const receipts = status ? receiptsOf({ node, chat, status, told, whatsappIds, at }, context) : []
  return { kind: 'answer', answer: { whatsappIds, at, ...(receipts.length > 0 ? { receipts } : {}) } }
}

interface ReceiptStanza {
  readonly node: BinaryNode
  readonly chat: WhatsAppAddress
  readonly status: Receipt['status']
  readonly told: readonly Grouped[]
  readonly whatsappIds: readonly string[]
  readonly at: Date
}

/** Of a group one for each member, in either of the forms in which WhatsApp gives them. Nobody waits for those of a status. */
function receiptsOf({ node, chat, status, told, whatsappIds, at }: ReceiptStanza, context: StanzaContext): Receipt[] {
  const { attrs } = node
  if (chat.groupJid === STATUS_JID) return []
  if (!chat.groupJid) return isSame(chat, context.me) ? [] : [{ whatsappIds, chat, status, at }]
  const member = memberOf(attrs.participant, attrs.participant_pn ?? attrs.participant_lid, context)
  if (member) return [{ whatsappIds, chat, status, at, member }]
  return told.flatMap(({ whatsappId, users }) =>
    users.flatMap((user) => {
      const each = memberOf(user.attrs.jid, undefined, context)
      return each ? [{ whatsappIds: [whatsappId], chat, status, at: atOf(user, at.getTime()), member: each }] : []
    }),
  )
}

/** Undefined: nobody, or ourselves. */
function memberOf(
  jid: string | undefined,
  other: string | undefined,
  context: StanzaContext,
): WhatsAppAddress | undefined {
  const given = { ...parseJid(other), ...parseJid(jid) }
  if (!given.waId && !given.lid) return undefined
  const member = withCounterpart(given, context)
  return isSame(member, context.me) ? undefined : member
}

interface Grouped {
  readonly whatsappId: string
  readonly users: readonly BinaryNode[]
}

/** `<participants key=id><user jid t/>…</participants>`: what came together while we were away, per message. */
function readGrouped({ content }: BinaryNode): Grouped[] {
  return childrenOf(content, 'participants').flatMap(({ attrs, content: users }) =>
    isPossibleId(attrs.key) ? [{ whatsappId: attrs.key, users: childrenOf(users, 'user') }] : [],
  )
}

const childrenOf = (content: BinaryNode['content'], tag: string): BinaryNode[] =>
  Array.isArray(content) ? content.filter((child) => child.tag === tag) : []

const idsOf = (node: BinaryNode): string[] =>
  node.attrs.id ? [node.attrs.id, ...listedIds(node)].filter(isPossibleId) : []

function listedIds({ content }: BinaryNode): string[] {
  const items = childrenOf(content, 'list').flatMap((list) => childrenOf(list.content, 'item'))
  return items.flatMap(({ attrs }) => (attrs.id ? [attrs.id] : []))
}

function readAck(node: BinaryNode, { now }: StanzaContext): StanzaReading {
  const { id, class: of, error, phash, from } = node.attrs
  if (of !== 'message' || !id) return { kind: 'known' }
  const refused = error ? { errorCode: error } : {}
  const person = phash ? parseJid(from) : undefined
  const stale = person ? { staleDevicesOf: person } : {}
  return { kind: 'answer', answer: { whatsappIds: [id], at: atOf(node, now), ...refused, ...stale } }
}

const MAX_ID_LENGTH = 255
/** What people's devices call our messages comes from them: what no message of ours can be called goes no further. */
const isPossibleId = (id: string | undefined): id is string =>
  id !== undefined && id !== '' && id.length <= MAX_ID_LENGTH && isStorable(id)

/** WhatsApp's time in seconds; ours where it gives none that can be one. */
function atOf({ attrs }: BinaryNode, now: number): Date {
  const isTime = /^\d{1,10}$/.test(attrs.t ?? '')
  return isTime ? fromSeconds(attrs.t) : new Date(now)
}

/** The outline of a stanza, without anything that could be personal. */
function shapeOf({ attrs, content }: BinaryNode): string {
  const kind = attrs.type ?? attrs.class ?? ''
  const children = Array.isArray(content) ? content.map(({ tag }) => tag).join(',') : ''
  return [kind && `type ${kind}`, children && `with ${children}`].filter(Boolean).join(' ')
}
