/**
 * Ids. Inside, an id is a UUIDv7 (RFC 9562 §5.7) as PostgreSQL stores it: time-ordered, so indexes grow at the end.
 * Outside, it is a prefix and the Crockford base32 of the same 128 bits (`msg_01J…`, 26 digits): a log line or a URL says
 * what it names. This file is the only place where either form is made or parsed.
 */
import { randomBytes } from 'node:crypto'
import type { Brand } from './brand.js'

export type TenantId = Brand<string, 'ten'>
export type UserId = Brand<string, 'usr'>
export type ApiKeyId = Brand<string, 'key'>
export type InstanceId = Brand<string, 'ins'>
export type ChatId = Brand<string, 'cht'>
export type ContactId = Brand<string, 'con'>
export type MessageId = Brand<string, 'msg'>
export type MediaId = Brand<string, 'med'>
export type EventId = Brand<string, 'evt'>
export type WebhookId = Brand<string, 'whe'>
export type DeliveryId = Brand<string, 'dlv'>
export type JobId = Brand<string, 'job'>
export type CommandId = Brand<string, 'cmd'>

interface IdByPrefix {
  ten: TenantId
  usr: UserId
  key: ApiKeyId
  ins: InstanceId
  cht: ChatId
  con: ContactId
  msg: MessageId
  med: MediaId
  evt: EventId
  whe: WebhookId
  dlv: DeliveryId
  job: JobId
  cmd: CommandId
}
export type IdPrefix = keyof IdByPrefix
export type IdOf<Prefix extends IdPrefix> = IdByPrefix[Prefix]

/** Makes ids; a fake one with a fixed clock makes tests repeatable. */
export interface IdGenerator {
  next<Prefix extends IdPrefix>(prefix: Prefix): IdOf<Prefix>
}

const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'
const ENCODED_LENGTH = 26
const ENTROPY_BYTES = 4_096
const UUID_PATTERN = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

/**
 * A generator of monotonic UUIDv7: within one process and millisecond, the 12 bits of `rand_a` count up, so ids made one
 * after another sort in that order (method 1 of RFC 9562 §6.2).
 */
export function createIdGenerator(now: () => number = Date.now): IdGenerator {
  let lastMs = -1
  let counter = 0
  // Drawn in bulk: a draw costs as much for eight bytes as for thousands.
  let entropy = Buffer.alloc(0)
  return {
    next<Prefix extends IdPrefix>(_prefix: Prefix): IdOf<Prefix> {
      const ms = Math.max(now(), lastMs)
      counter = ms === lastMs ? counter + 1 : draw(2).readUInt16BE() & 0x7ff
      lastMs = ms
      if (counter > 0xfff) {
        lastMs += 1
        counter = 0
      }
      return formatUuid(lastMs, counter, draw(8)) as IdOf<Prefix>
    },
  }

  function draw(bytes: number): Buffer {
    if (entropy.length < bytes) entropy = randomBytes(ENTROPY_BYTES)
    const drawn = entropy.subarray(0, bytes)
    entropy = entropy.subarray(bytes)
    return drawn
  }
}

/** The lowest id that can have been made at this time: where to begin in an order of ids. */
export const firstIdAt = <Prefix extends IdPrefix>(_prefix: Prefix, ms: number): IdOf<Prefix> =>
  formatUuid(Math.max(0, ms), 0, Buffer.alloc(8)) as IdOf<Prefix>

/** `018f…-uuid` → `msg_01J…`. */
export function publicId<Prefix extends IdPrefix>(prefix: Prefix, id: IdOf<Prefix>): string {
  let value = BigInt(`0x${id.replaceAll('-', '')}`)
  let text = ''
  for (let digit = 0; digit < ENCODED_LENGTH; digit++) {
    text = ALPHABET.charAt(Number(value & 31n)) + text
    value >>= 5n
  }
  return `${prefix}_${text}`
}

/** `msg_01J…` → the UUID, or undefined when the text is not an id with that prefix. Case does not matter. */
export function parseId<Prefix extends IdPrefix>(prefix: Prefix, text: string): IdOf<Prefix> | undefined {
  if (!text.startsWith(`${prefix}_`)) return undefined
  const digits = text.slice(prefix.length + 1).toUpperCase()
  if (digits.length !== ENCODED_LENGTH || digits.charAt(0) > '7') return undefined
  let value = 0n
  for (const digit of digits) {
    const index = ALPHABET.indexOf(digit)
    if (index < 0) return undefined
    value = (value << 5n) | BigInt(index)
  }
  return hexToUuid(value.toString(16).padStart(32, '0')) as IdOf<Prefix>
}

/** Trusts a UUID that came from our own database. Throws on anything else: a wrong column is a bug. */
export function idFromColumn<Prefix extends IdPrefix>(_prefix: Prefix, uuid: string): IdOf<Prefix> {
  if (!UUID_PATTERN.test(uuid)) throw new TypeError('not a UUID')
  return uuid as IdOf<Prefix>
}

function formatUuid(ms: number, randA: number, tail: Buffer): string {
  const time = ms.toString(16).padStart(12, '0')
  const version = (0x7000 | randA).toString(16)
  tail[0] = ((tail[0] ?? 0) & 0x3f) | 0x80
  return hexToUuid(time + version + tail.toString('hex'))
}

function hexToUuid(hex: string): string {
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}
