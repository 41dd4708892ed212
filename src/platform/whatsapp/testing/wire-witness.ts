/**
 * Stands at WhatsApp's server and compares what arrives there with what is durable here, knowing nothing of how it is done:
 * a message may arrive only when the ratchet step that encrypted it is durable, a receipt only when the row of its message is,
 * a one-time prekey only when we could still open what is encrypted to it after a crash.
 */
import { createRequire } from 'node:module'
import type { BinaryNode } from 'baileys'
import { decodeRaw } from '../baileys/raw-entry.js'
import { decodeValue } from '../baileys/value-codec.js'
import type { DurableState } from './journal.js'

export interface WireWitness {
  readonly messageCount: number
  readonly receiptCount: number
  readonly preKeyCount: number
  /** What arrived too early. */
  readonly violations: readonly string[]
  stop(): void
}

interface Whisper {
  readonly ephemeralKey: Uint8Array
  readonly counter: number
}
interface Protobufs {
  readonly WhisperMessage: { decode(bytes: Uint8Array): Whisper }
  readonly PreKeyWhisperMessage: { decode(bytes: Uint8Array): { readonly message: Uint8Array } }
}
interface StoredSession {
  readonly _sessions: Record<
    string,
    { readonly _chains: Record<string, { chainKey: { counter: number } } | undefined> }
  >
}

const VERSION_LENGTH = 1
const MAC_LENGTH = 8

export interface WireOptions {
  /** Calls the listener with each stanza of the number that arrives at the server; returns how to stop that. */
  readonly subscribe: (listener: (stanza: BinaryNode) => void) => () => void
  readonly durable: DurableState
}

export function watchWire({ subscribe, durable }: WireOptions): WireWitness {
  const violations: string[] = []
  let messageCount = 0
  let receiptCount = 0
  let preKeyCount = 0
  const stop = subscribe((stanza) => {
    for (const id of preKeyIdsOf(stanza)) notePreKey(id)
    if (stanza.tag === 'message') noteMessage(stanza)
    if (stanza.tag === 'receipt' && stanza.attrs.type !== 'retry') noteReceipt(stanza)
  })

  function noteMessage(node: BinaryNode): void {
    messageCount += 1
    for (const { type, bytes } of payloadsOf(node)) {
      const { ephemeralKey, counter } = readWhisper(type, bytes)
      if (durableCounter(durable, ephemeralKey) < counter) violations.push(`message ${node.attrs.id} before its keys`)
    }
  }

  function noteReceipt({ attrs }: BinaryNode): void {
    receiptCount += 1
    if (!durableIds(durable).has(attrs.id)) violations.push(`receipt ${attrs.id} before its row`)
  }

  function notePreKey(id: string): void {
    preKeyCount += 1
    if (!durable.credentials.get('pre-key')?.has(id)) violations.push(`prekey ${id} before it is stored`)
  }

  return {
    get preKeyCount() {
      return preKeyCount
    },
    get messageCount() {
      return messageCount
    },
    get receiptCount() {
      return receiptCount
    },
    violations,
    stop,
  }
}

function payloadsOf(node: BinaryNode): { type: string; bytes: Uint8Array }[] {
  const children = Array.isArray(node.content) ? node.content : []
  const nested = children.flatMap((child) => (child.tag === 'enc' ? [] : payloadsOf(child)))
  const own = children.flatMap(({ tag, attrs, content }) =>
    tag === 'enc' && content instanceof Uint8Array ? [{ type: attrs.type ?? '', bytes: content }] : [],
  )
  return [...own, ...nested]
}

/** Prekeys are handed out in uploads (`list/key/id`) and in requests to encrypt again (`keys/key/id`). */
function preKeyIdsOf(node: BinaryNode): string[] {
  const children = Array.isArray(node.content) ? node.content : []
  return children.flatMap((child) => {
    if (child.tag === 'list' || child.tag === 'keys') return preKeyIdsOf(child)
    const id =
      child.tag === 'key' && Array.isArray(child.content) && child.content.find(({ tag }) => tag === 'id')?.content
    return id instanceof Uint8Array ? [String(Buffer.from(id).readUIntBE(0, 3))] : []
  })
}

function readWhisper(type: string, bytes: Uint8Array): Whisper {
  const { WhisperMessage, PreKeyWhisperMessage } = libsignalProtobufs()
  const whisper = type === 'pkmsg' ? PreKeyWhisperMessage.decode(bytes.subarray(VERSION_LENGTH)).message : bytes
  return WhisperMessage.decode(whisper.subarray(VERSION_LENGTH, whisper.length - MAC_LENGTH))
}

function libsignalProtobufs(): Protobufs {
  const requireHere = createRequire(import.meta.url)
  return createRequire(requireHere.resolve('baileys'))('libsignal/src/protobufs.js') as Protobufs
}

/** How far the durable session with this sending key has come; −1 when there is none. */
function durableCounter({ credentials }: DurableState, ephemeralKey: Uint8Array): number {
  const key = Buffer.from(ephemeralKey).toString('base64')
  for (const stored of credentials.get('session')?.values() ?? []) {
    const { _sessions } = decodeValue('session', stored) as StoredSession
    for (const { _chains } of Object.values(_sessions)) {
      const chain = _chains[key]
      if (chain) return chain.chainKey.counter
    }
  }
  return -1
}

const durableIds = ({ inbound }: DurableState): Set<string | undefined> =>
  new Set([...inbound.values()].map((payload) => decodeRaw(payload).envelope.attrs.id))
