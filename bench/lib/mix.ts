/**
 * What is sent: texts to persons alone, or a mix of what real numbers send. This is the only place that says what the mix is.
 *
 * Of 20 messages in the mix 14 are texts to persons (70 %), 3 texts to groups (15 %), 1 a picture and 1 a document to a
 * person (10 %), and 1 a picture to a group (5 %), spread out evenly. Each file is one that was never sent before (a photo, a
 * receipt, an invoice), so nobody can save an upload; what files are is in files.ts. A group has GROUP_CONTACTS of the
 * contacts and the sending number as members, and each target has groups of its own, so that no target hears another.
 */
export const mixes = ['text', 'mixed'] as const
export type Mix = (typeof mixes)[number]

export interface Part {
  readonly to: 'person' | 'group'
  readonly content: 'text' | 'image' | 'document'
}

/** Whom a target writes to. */
export interface Recipients {
  readonly mix: Mix
  /** Digits. */
  readonly phones: readonly string[]
  /** Jids; none where only texts are sent. */
  readonly groups: readonly string[]
}

export const GROUPS = 4
export const GROUP_CONTACTS = 15

const text: Part = { to: 'person', content: 'text' }
const groupText: Part = { to: 'group', content: 'text' }
const image: Part = { to: 'person', content: 'image' }
const groupImage: Part = { to: 'group', content: 'image' }
const document: Part = { to: 'person', content: 'document' }

const MIXED: readonly Part[] = [
  ...[text, text, groupText, text, text, image, text, text, text, groupText],
  ...[text, text, groupImage, text, text, document, text, text, groupText, text],
]

/** One message to be sent. */
export interface Item {
  /** Of its own: names its file, too. */
  readonly key: string
  readonly to: string
  readonly content: Part['content']
  /** Its text or its caption. */
  readonly words: string
}

/** What message number `index` of a run is. */
export const partAt = (mix: Mix, index: number): Part => (mix === 'text' ? text : (MIXED[index % MIXED.length] ?? text))

/** What message number `n` of one chat is, so that all chats together are the mix when groups are a fifth of them. */
export function partIn(mix: Mix, to: Part['to'], n: number): Part {
  const parts = mix === 'text' ? [text] : MIXED.filter((part) => part.to === to)
  return parts[n % parts.length] ?? text
}

export const itemAt = (recipients: Recipients, tag: string, index: number): Item => ({
  key: `${tag}-${index}`,
  to: recipientAt(recipients, index),
  content: partAt(recipients.mix, index).content,
  words: `hello ${tag} #${index}`,
})

/** To whom message number `index` goes: all in turn, and shifted at each turn, so that files go to all as well. */
function recipientAt({ mix, phones, groups }: Recipients, index: number): string {
  const turn = mix === 'text' ? 0 : Math.floor(index / MIXED.length)
  const among = partAt(mix, index).to === 'group' ? groups : phones
  return among[(index + turn) % among.length] ?? ''
}

/** A kind of message in a table of figures: `text`, `group_text`, `media`, `group_media`. */
export function kindOf({ to, content }: Part): string {
  return `${to === 'group' ? 'group_' : ''}${content === 'text' ? 'text' : 'media'}`
}
