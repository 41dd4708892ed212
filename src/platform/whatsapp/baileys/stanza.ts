/**
 * Reads from raw stanzas what a connection must know at once: receipts and acknowledgements above all, since Baileys merges
 * some of them away (fault S7). Pure.
 */
import type { BinaryNode } from 'baileys'
import { isSame, parseJid, type WhatsAppAddress } from '../jid.js'
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
  /** Absent when it says nothing about the recipient: the server, our own devices, a retry, one member of a group. */
  readonly receipt?: Receipt
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

export function readStanza(node: BinaryNode, context: { me: WhatsAppAddress; now: number }): StanzaReading {
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

function readReceipt(node: BinaryNode, { me, now }: { me: WhatsAppAddress; now: number }): StanzaReading {
  const { attrs } = node
  const chat = parseJid(attrs.from)
  if (!chat || !attrs.id) return { kind: 'known' }
  const whatsappIds = [attrs.id, ...listedIds(node)]
  const at = atOf(node, now)
  const status = STATUS_OF_TYPE[attrs.type ?? '']
  const isOfRecipient = status && !chat.groupJid && !isSame(chat, me)
  const receipt = isOfRecipient ? { receipt: { whatsappIds, chat, status, at } } : {}
  return { kind: 'answer', answer: { whatsappIds, at, ...receipt } }
}

function listedIds({ content }: BinaryNode): string[] {
  if (!Array.isArray(content)) return []
  const list = content.find(({ tag }) => tag === 'list')?.content
  if (!Array.isArray(list)) return []
  return list.flatMap(({ tag, attrs }) => (tag === 'item' && attrs.id ? [attrs.id] : []))
}

function readAck(node: BinaryNode, { now }: { now: number }): StanzaReading {
  const { id, class: of, error, phash, from } = node.attrs
  if (of !== 'message' || !id) return { kind: 'known' }
  const refused = error ? { errorCode: error } : {}
  const person = phash ? parseJid(from) : undefined
  const stale = person ? { staleDevicesOf: person } : {}
  return { kind: 'answer', answer: { whatsappIds: [id], at: atOf(node, now), ...refused, ...stale } }
}

const atOf = ({ attrs }: BinaryNode, now: number): Date => (attrs.t ? fromSeconds(attrs.t) : new Date(now))

/** The outline of a stanza, without anything that could be personal. */
function shapeOf({ attrs, content }: BinaryNode): string {
  const kind = attrs.type ?? attrs.class ?? ''
  const children = Array.isArray(content) ? content.map(({ tag }) => tag).join(',') : ''
  return [kind && `type ${kind}`, children && `with ${children}`].filter(Boolean).join(' ')
}
