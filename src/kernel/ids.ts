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
/** Twenty bits are five hexadecimal digits and four of ours: so ids are converted in pieces, without big numbers. */
const HEX_PER_PIECE = 5
const DIGITS_PER_PIECE = 4
/** The 128 bits in whole pieces have so many leading zeros. */
const PADDING = { hex: 3, digits: 2 }
/** Every pair of digits, by the ten bits that it stands for. */
const DIGIT_PAIRS: readonly string[] = Array.from(
  { length: ALPHABET.length ** 2 },
  (_, bits) => ALPHABET.charAt(bits >> 5) + ALPHABET.charAt(bits & 31),
)
/** What a digit stands for, by its character code in either case; -1: none of ours. */
const DIGIT_VALUES: readonly number[] = Array.from({ length: 128 }, (_, code) =>
  ALPHABET.indexOf(String.fromCharCode(code).toUpperCase()),
)
const UUID_PATTERN = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

/**
 * A generator of monotonic UUIDv7: within one process and millisecond, the 12 bits of `rand_a` count up, so ids made one
 * after another sort in that order (method 1 of RFC 9562 §6.2).
 */
export function createIdGenerator(now: () => number = Date.now): IdGenerator {
  let lastMs = -1
  let counter = 0
  // Drawn in bulk: a draw costs as much for eight bytes as for thousands. Hexadecimal digits, of which `used` are gone.
  let entropy = ''
  let used = 0
  return {
    next<Prefix extends IdPrefix>(_prefix: Prefix): IdOf<Prefix> {
      const ms = Math.max(now(), lastMs)
      counter = ms === lastMs ? counter + 1 : Number.parseInt(draw(4), 16) & 0x7ff
      lastMs = ms
      if (counter > 0xfff) {
        lastMs += 1
        counter = 0
      }
      return formatUuid(lastMs, counter, draw(16)) as IdOf<Prefix>
    },
  }

  function draw(digits: number): string {
    if (entropy.length - used < digits) {
      entropy = randomBytes(ENTROPY_BYTES).toString('hex')
      used = 0
    }
    used += digits
    return entropy.slice(used - digits, used)
  }
}

/** The lowest id that can have been made at this time: where to begin in an order of ids. */
export const firstIdAt = <Prefix extends IdPrefix>(_prefix: Prefix, ms: number): IdOf<Prefix> =>
  formatUuid(Math.max(0, ms), 0, '0'.repeat(16)) as IdOf<Prefix>

/** `018f…-uuid` → `msg_01J…`. */
export function publicId<Prefix extends IdPrefix>(prefix: Prefix, id: IdOf<Prefix>): string {
  const hex = '0'.repeat(PADDING.hex) + id.replaceAll('-', '')
  let digits = ''
  for (let at = 0; at < hex.length; at += HEX_PER_PIECE) {
    const bits = Number.parseInt(hex.slice(at, at + HEX_PER_PIECE), 16)
    digits += `${DIGIT_PAIRS[bits >> 10]}${DIGIT_PAIRS[bits & 0x3ff]}`
  }
  return `${prefix}_${digits.slice(PADDING.digits)}`
}

/** `msg_01J…` → the UUID, or undefined when the text is not an id with that prefix. Case does not matter. */
export function parseId<Prefix extends IdPrefix>(prefix: Prefix, text: string): IdOf<Prefix> | undefined {
  if (!text.startsWith(`${prefix}_`) || text.length !== prefix.length + 1 + ENCODED_LENGTH) return undefined
  const digits = '0'.repeat(PADDING.digits) + text.slice(prefix.length + 1)
  if (digits.charAt(PADDING.digits) > '7') return undefined
  let hex = ''
  for (let at = 0; at < digits.length; at += DIGITS_PER_PIECE) {
    let bits = 0
    for (let offset = 0; offset < DIGITS_PER_PIECE; offset++) {
      const value = DIGIT_VALUES[digits.charCodeAt(at + offset)] ?? -1
      if (value < 0) return undefined
      bits = (bits << 5) | value
    }
    hex += bits.toString(16).padStart(HEX_PER_PIECE, '0')
  }
  return hexToUuid(hex.slice(PADDING.hex)) as IdOf<Prefix>
}

/** Trusts a UUID that came from our own database. Throws on anything else: a wrong column is a bug. */
export function idFromColumn<Prefix extends IdPrefix>(_prefix: Prefix, uuid: string): IdOf<Prefix> {
  if (!UUID_PATTERN.test(uuid)) throw new TypeError('not a UUID')
  return uuid as IdOf<Prefix>
}

/** `tail`: sixteen hexadecimal digits. */
function formatUuid(ms: number, randA: number, tail: string): string {
  const time = ms.toString(16).padStart(12, '0')
  const version = (0x7000 | randA).toString(16)
  const variant = (0x8 | (Number.parseInt(tail.charAt(0), 16) & 0x3)).toString(16)
  return hexToUuid(time + version + variant + tail.slice(1))
}

function hexToUuid(hex: string): string {
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}
