/**
 * When two phone numbers are spellings of one. Pure. WhatsApp knows many numbers under another spelling than people write:
 * Brazilian mobiles outside 11–28 without the ninth digit, Mexican ones with a 1 after +52 or without, Argentine ones with a
 * 9 after +54 (Evolution API maps the same three: src/utils/createJid.ts; so do the guides of WhatsApp's providers, e.g.
 * support.whapi.cloud "Specifics of sending messages to numbers of different countries"). No other line can have the shorter
 * spelling: Brazilian landlines begin with 2 to 5, Mexico gave up the 1 in 2019, Argentina numbers mobiles in blocks of their own.
 */
import { phoneFromWaId } from '../../platform/whatsapp/jid.js'

/** The shortest spelling of a number (E.164): equal for all spellings of one. */
export function shortestSpelling(phone: string): string {
  return phone
    .replace(/^(\+55\d{2})9([6-9]\d{7})$/, '$1$2')
    .replace(/^(\+52)1(\d{10})$/, '$1$2')
    .replace(/^(\+54)9(\d{10})$/, '$1$2')
}

/** The number and, where it is another, its shortest spelling. */
export function spellingsOf(phone: string): readonly string[] {
  const shortest = shortestSpelling(phone)
  return shortest === phone ? [phone] : [phone, shortest]
}

/** Whether `phone` is the number of that row, as the row's number or as WhatsApp knows it. Both E.164. */
export function isSameNumber(row: { readonly phone: string; readonly waId: string | null }, phone: string): boolean {
  return (
    (row.waId !== null && shortestSpelling(phoneFromWaId(row.waId)) === shortestSpelling(phone)) ||
    shortestSpelling(row.phone) === shortestSpelling(phone)
  )
}
