/**
 * What may stand in a log line: an allow-list of field names, and a scrubber for what slips into texts. A log is read by
 * more people than the database is, and kept longer.
 */
import { type IdPrefix, idFromColumn, publicId } from '../../kernel/ids.js'
import { type LogFields, maskPhone } from '../../kernel/logger.js'

/** Fields that hold one of our ids; shown as the API shows them. */
const idFields: Readonly<Record<string, IdPrefix>> = {
  tenantId: 'ten',
  keyId: 'key',
  instanceId: 'ins',
  instance: 'ins',
  chatId: 'cht',
  contactId: 'con',
  messageId: 'msg',
  mediaId: 'med',
  eventId: 'evt',
  endpointId: 'whe',
  deliveryId: 'dlv',
  jobId: 'job',
  job: 'job',
  commandId: 'cmd',
}

const plainFields: ReadonlySet<string> = new Set(
  [
    'process pid replica role roles slot version incarnation holder host port url',
    'resource subject epoch position kind type event channel name file directory variable migration tag',
    'status code reason error stack how why from ailment task detail adopted signal attempt attempts failures fate level',
    'count waiting leases instances sessions messages jobs rows bytes limit heapUsed rss until at',
    'traceId method route path dropped',
  ].flatMap((names) => names.split(' ')),
)

/** Measures: any number under such a name. */
const MEASURE = /(Ms|Count|Bytes)$/

const MAX_TEXT = 500
const MAX_STACK = 2_000

export type LogValue = string | number | boolean | null

/** Fields as they may be written. Names that are not on the list are named in `dropped`, their values are gone. */
export function allowedFields(fields: LogFields): Record<string, LogValue> {
  const shown: Record<string, LogValue> = {}
  const dropped: string[] = []
  for (const [name, value] of Object.entries(fields)) {
    if (value === undefined) continue
    const prefix = idFields[name]
    if (prefix) shown[name] = typeof value === 'string' ? shownId(prefix, value) : value
    else if (MEASURE.test(name) && typeof value === 'number') shown[name] = value
    else if (!plainFields.has(name)) dropped.push(name)
    else if (typeof value !== 'string') shown[name] = value
    else shown[name] = scrub(value, name === 'stack' ? MAX_STACK : MAX_TEXT)
  }
  if (dropped.length > 0) shown.dropped = dropped.join()
  return shown
}

export const isAllowedField = (name: string): boolean => name in idFields || plainFields.has(name) || MEASURE.test(name)

const SECRET = /\b(mir_[0-9a-z]+_|whsec_)[\w+/=-]+/g
/** A phone number, alone or as the user of a jid; not the digits inside an id. */
const PHONE = /(?<![\w.-])\+?\d{10,15}(?![\w-]|\.\d)/g
const URL_PASSWORD = /(:\/\/[^\s:/@]*:)[^\s@/]+@/g

/** Masks phone numbers, API keys, webhook secrets and passwords in URLs, and cuts what is too long for a line. */
export function scrub(text: string, maxLength = MAX_TEXT): string {
  const short = text.length > maxLength ? `${text.slice(0, maxLength)}…` : text
  return short
    .replace(URL_PASSWORD, '$1…@')
    .replace(SECRET, '$1…')
    .replace(PHONE, (digits) => maskPhone(digits))
}

function shownId(prefix: IdPrefix, value: string): string {
  try {
    return publicId(prefix, idFromColumn(prefix, value))
  } catch {
    return scrub(value)
  }
}
