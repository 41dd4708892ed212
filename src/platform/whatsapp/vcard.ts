/** Contact cards as vCard 3.0 (RFC 2426), with the `waid` parameter by which WhatsApp names a number that it knows. */
import type { OutboundContent } from './content.js'

export type ContactCard = Extract<OutboundContent, { type: 'contacts' }>['contacts'][number]

export function writeVcard({ name, phones, emails = [], org }: ContactCard): string {
  const lines = [
    'BEGIN:VCARD',
    'VERSION:3.0',
    `N:${escapeText(name.lastName ?? '')};${escapeText(name.firstName ?? '')};;;`,
    `FN:${escapeText(name.formattedName)}`,
    ...(org?.company ? [`ORG:${escapeText(org.company)}`] : []),
    ...(org?.title ? [`TITLE:${escapeText(org.title)}`] : []),
    ...phones.map(({ phone, type, waId }) => {
      const waid = waId ? `;waid=${waId}` : ''
      return `TEL;type=${escapeText(type ?? 'CELL')}${waid}:${escapeText(phone)}`
    }),
    ...emails.map(({ email, type }) => `EMAIL;type=${escapeText(type ?? 'INTERNET')}:${escapeText(email)}`),
    'END:VCARD',
  ]
  return lines.join('\n')
}

/** Reads what it knows and passes over the rest; never throws. `shownName` is used where the card has none. */
export function readVcard(text: string, shownName = ''): ContactCard {
  const entries = unfold(text).map(readLine)
  const value = (key: string): string | undefined => entries.find((entry) => entry.key === key)?.value
  const all = (key: string) => entries.filter((entry) => entry.key === key && entry.value !== '')
  const [lastName, firstName] = splitEscaped(entries.find((entry) => entry.key === 'N')?.raw ?? '')
  const company = splitEscaped(entries.find((entry) => entry.key === 'ORG')?.raw ?? '')[0]
  const title = value('TITLE')
  const emails = all('EMAIL').map(({ value: email, type }) => ({ email, ...(type ? { type } : {}) }))
  return {
    name: {
      formattedName: value('FN') || shownName || '?',
      ...(firstName ? { firstName } : {}),
      ...(lastName ? { lastName } : {}),
    },
    phones: all('TEL').map(({ value: phone, type, waid }) => ({
      phone,
      ...(type ? { type } : {}),
      ...(waid ? { waId: waid } : {}),
    })),
    ...(emails.length > 0 ? { emails } : {}),
    ...(company || title ? { org: { ...(company ? { company } : {}), ...(title ? { title } : {}) } } : {}),
  }
}

interface Line {
  readonly key: string
  readonly raw: string
  readonly value: string
  readonly type: string | undefined
  readonly waid: string | undefined
}

/** A line that begins with a blank goes on with the one before. */
const unfold = (text: string): string[] => text.replaceAll(/\r?\n[ \t]/g, '').split(/\r?\n/)

function readLine(line: string): Line {
  const colon = line.indexOf(':')
  const [name = '', ...parameters] = line.slice(0, Math.max(colon, 0)).split(';')
  const raw = line.slice(colon + 1)
  const parameter = (wanted: string): string | undefined =>
    parameters.find((item) => item.toLowerCase().startsWith(`${wanted}=`))?.slice(wanted.length + 1)
  const waid = parameter('waid')
  return {
    // `item1.TEL` groups lines; the group says nothing to us.
    key: name.slice(name.lastIndexOf('.') + 1).toUpperCase(),
    raw,
    value: unescapeText(raw),
    type: parameter('type'),
    waid: waid && /^\d{5,20}$/.test(waid) ? waid : undefined,
  }
}

const escapeText = (text: string): string =>
  text.replaceAll(/[\\;,]/g, (character) => `\\${character}`).replaceAll(/\r?\n/g, '\\n')

const unescapeText = (text: string): string =>
  text.replaceAll(/\\(.)/g, (_match, character: string) => (character === 'n' || character === 'N' ? '\n' : character))

/** The parts of a structured value: divided by semicolons that are not escaped. */
const splitEscaped = (raw: string): string[] =>
  (raw.match(/(?:\\.|[^;\\])*(?:;|$)/g) ?? []).map((part) => unescapeText(part.replace(/;$/, '')))
