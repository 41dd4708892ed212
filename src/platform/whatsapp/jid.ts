/**
 * JIDs: WhatsApp's addresses (`<user>[_<agent>][:<device>]@<server>`). The only file that takes one apart. A device suffix
 * never leaves it: the same person on three devices is one address.
 */
export interface WhatsAppAddress {
  /** Digits without `+`, as WhatsApp knows the number. */
  readonly waId?: string
  /** Digits of the linked identity (LID). */
  readonly lid?: string
  /** Without `@`. Known, but nothing can be sent to it. */
  readonly username?: string
  /** Business-scoped user id, `BR.1502…`: what the Cloud API gives in place of a hidden number. */
  readonly bsuid?: string
  /** Whole jid of a group, or STATUS_JID: the status updates of everybody are one chat. */
  readonly groupJid?: string
}

const USER_SERVER = 's.whatsapp.net'
const LID_SERVER = 'lid'
const GROUP_SERVER = 'g.us'
export const STATUS_JID = 'status@broadcast'

/** Reads a jid of a person (phone or LID, any device), a group or the status; undefined for newsletters and nonsense. */
export function parseJid(jid: string | null | undefined): WhatsAppAddress | undefined {
  const match = /^([^:@_]+)(?:_\d+)?(?::\d+)?@([a-z.]+)$/.exec(jid ?? '')
  const [, user, server] = match ?? []
  if (!user || !server) return undefined
  if (jid === STATUS_JID) return { groupJid: STATUS_JID }
  if (server === GROUP_SERVER) return { groupJid: `${user}@${GROUP_SERVER}` }
  if (!/^\d+$/.test(user)) return undefined
  if (server === USER_SERVER || server === 'c.us' || server === 'hosted') return { waId: user }
  if (server === LID_SERVER || server === 'hosted.lid') return { lid: user }
  return undefined
}

/** The jid to write to: the group, else the phone, else the LID. */
export function toJid({ waId, lid, groupJid }: WhatsAppAddress): string {
  if (groupJid) return groupJid
  if (waId) return `${waId}@${USER_SERVER}`
  if (lid) return `${lid}@${LID_SERVER}`
  throw new TypeError('an address without phone, LID or group')
}

/** Whether two addresses are of one person: by phone, or by LID. */
export function isSame(one: WhatsAppAddress, other: WhatsAppAddress): boolean {
  if (one.waId !== undefined && one.waId === other.waId) return true
  return one.lid !== undefined && one.lid === other.lid
}

/** Joins what two sources say of one person; the first wins where both speak. */
export function mergeAddresses(first: WhatsAppAddress, second: WhatsAppAddress | undefined): WhatsAppAddress {
  return { ...second, ...first }
}

/** The same person with both addresses, where whoever is asked knows the other one. */
export function withCounterpart(address: WhatsAppAddress, { lidOf, phoneOf }: Counterparts): WhatsAppAddress {
  const lid = address.lid ?? (address.waId && lidOf(address.waId))
  const waId = address.waId ?? (address.lid && phoneOf(address.lid))
  return { ...address, ...(waId ? { waId } : {}), ...(lid ? { lid } : {}) }
}

/** Who knows the other address of a person: digits both ways. */
export interface Counterparts {
  readonly lidOf: (waId: string) => string | undefined
  readonly phoneOf: (lid: string) => string | undefined
}

/** `5511987654321` → `+5511987654321`. */
export const phoneFromWaId = (waId: string): string => `+${waId}`
/** `+5511987654321` → `5511987654321`. */
export const waIdFromPhone = (phone: string): string => phone.replace(/^\+/, '')

/** WhatsApp's rule: 3 to 35 of a–z, 0–9, `.` and `_`, a letter among them, no dot at an end nor two in a row. */
export function isUsername(text: string): boolean {
  return /^[a-z0-9._]{3,35}$/.test(text) && /[a-z]/.test(text) && !/^\.|\.$|\.\./.test(text)
}

/** Where a chat's messages go, from what is stored of it. Empty where nothing is. */
export function addressFrom({
  groupJid = null,
  phone,
  waId = null,
  lid,
}: {
  readonly groupJid?: string | null
  /** E.164. */
  readonly phone: string | null
  /** The number as WhatsApp knows it, where that differs. */
  readonly waId?: string | null
  readonly lid: string | null
}): WhatsAppAddress {
  if (groupJid !== null) return { groupJid }
  const digits = waId ?? (phone === null ? undefined : waIdFromPhone(phone))
  return { ...(digits ? { waId: digits } : {}), ...(lid === null ? {} : { lid }) }
}

/** How a member of a group is kept: by LID, or in E.164 where none is known; and the other one. */
export interface MemberKey {
  readonly member: string
  readonly alias: string | null
}

/** Undefined: an address of nobody. */
export function memberKey({ waId, lid }: WhatsAppAddress): MemberKey | undefined {
  const phone = waId === undefined ? null : phoneFromWaId(waId)
  if (lid !== undefined) return { member: lid, alias: phone }
  return phone === null ? undefined : { member: phone, alias: null }
}
