/** Reads what a caller wrote as `to`: a phone number, a jid, a LID, a username or a business-scoped id. Pure. */
import { parsePhoneNumberFromString } from 'libphonenumber-js/min'
import { AppError } from '../../kernel/errors.js'
import { isUsername, parseJid, phoneFromWaId } from '../../platform/whatsapp/jid.js'

export type IdentityKind = 'phone' | 'lid' | 'username' | 'bsuid'

export interface Identity {
  readonly kind: IdentityKind
  /** phone: E.164 with `+`; lid: digits; username: without `@`; bsuid: as Meta writes it, `BR.1502…`. */
  readonly value: string
}

/** A business-scoped id is the longest: a country, a dot, and up to 128 characters. */
export const MAX_RECIPIENT_LENGTH = 135
/** `BR.1502…`; `BR.ENT.1502…` for one that is scoped to a parent business. */
const BSUID = /^[A-Z]{2}\.(?:ENT\.)?[A-Za-z0-9]{1,128}$/

/**
 * `+55 11 98765-4321`, `5511987654321`, `5511987654321@s.whatsapp.net`, `1234@lid`, `@maria.silva` or `BR.1502…` → an
 * identity. `pointer` says where the text stood.
 * @throws AppError `invalid_number` naming the field, never echoing what was written.
 */
export function parseRecipient(to: string, pointer = '/to'): Identity {
  const field = pointer.slice(1)
  const text = to.trim()
  if (text.length === 0 || text.length > MAX_RECIPIENT_LENGTH)
    throw invalid(pointer, `\`${field}\` is empty or too long.`)
  if (text.startsWith('@')) return { kind: 'username', value: readUsername(text.slice(1), pointer) }
  if (text.includes('@')) return identityFromJid(text, pointer)
  if (BSUID.test(text)) return { kind: 'bsuid', value: text }
  const digits = text.replace(/[\s().-]/g, '')
  if (!/^\+?\d{5,20}$/.test(digits)) throw invalid(pointer, `\`${field}\` has characters that no phone number has.`)
  return { kind: 'phone', value: validPhone(digits.startsWith('+') ? digits : `+${digits}`, pointer) }
}

function readUsername(text: string, pointer: string): string {
  const username = text.toLowerCase()
  if (isUsername(username)) return username
  throw invalid(pointer, `\`${pointer.slice(1)}\` is not a username: 3 to 35 letters, digits, dots and underscores.`)
}

function identityFromJid(jid: string, pointer: string): Identity {
  const address = parseJid(jid)
  if (address?.lid) return { kind: 'lid', value: address.lid }
  if (address?.waId) return { kind: 'phone', value: validPhone(phoneFromWaId(address.waId), pointer) }
  throw invalid(pointer, `\`${pointer.slice(1)}\` is not the address of a person.`)
}

/** `isPossible` and not `isValid`: old Brazilian mobiles without the ninth digit are real WhatsApp addresses. */
function validPhone(phone: string, pointer: string): string {
  const parsed = parsePhoneNumberFromString(phone)
  if (!parsed?.isPossible())
    throw invalid(pointer, `\`${pointer.slice(1)}\` has the wrong number of digits for its country.`)
  return parsed.number
}

const invalid = (pointer: string, detail: string): AppError =>
  new AppError('invalid_number', { detail, errors: [{ pointer, detail }] })
