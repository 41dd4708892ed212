export const SERVER = 's.whatsapp.net'
export const SERVER_JID = '@s.whatsapp.net'
export const STATUS_JID = 'status@broadcast'

export type Addressing = 'pn' | 'lid'
export type Jid = { readonly user: string; readonly device: number; readonly server: string }

/** The only place that takes a jid apart: `user[:device]@server`. */
export function parseJid(text: string | undefined): Jid | null {
  const match = /^([^:@_]*)(?:_\d+)?(?::(\d+))?@(.+)$/.exec(text ?? '')
  if (!match) return null
  return { user: match[1] ?? '', device: Number(match[2] ?? 0), server: match[3] ?? '' }
}

export function pnJid(phone: string, device = 0): string {
  return device ? `${phone}:${device}@${SERVER}` : `${phone}@${SERVER}`
}

export function lidJid(lid: string, device = 0): string {
  return device ? `${lid}:${device}@lid` : `${lid}@lid`
}

export function groupJid(id: string): string {
  return `${id}@g.us`
}

export function isGroupJid(jid: string | undefined): boolean {
  return jid?.endsWith('@g.us') === true
}

/** Somebody's jid in one of the two ways to address people. */
export function jidIn(
  addressing: Addressing,
  person: { readonly phone: string; readonly lid: string },
  device = 0,
): string {
  return addressing === 'lid' ? lidJid(person.lid, device) : pnJid(person.phone, device)
}

/** The jid that goes along with the one somebody writes from; a number that its owner hides does not. */
export function alongJid(
  addressing: Addressing,
  person: { readonly phone: string; readonly lid: string; readonly habits: { readonly hidesNumber: boolean } },
): string | undefined {
  return addressing === 'pn' && person.habits.hidesNumber ? undefined : jidIn(addressing, person)
}

export function otherAddressing(addressing: Addressing): Addressing {
  return addressing === 'lid' ? 'pn' : 'lid'
}

/** A jid of the person, whatever device it names. */
export function withoutDevice(jid: string): string {
  return jid.replace(/:\d+@/, '@')
}

export function addressingOf(jid: string | undefined): Addressing {
  return jid?.endsWith('@lid') ? 'lid' : 'pn'
}
