/**
 * What WhatsApp keeps of our own account beside its messages: name, picture, and whom it has blocked. Asked for when the
 * connection is open, and told again when it changes on another device. What stays unanswered is not told.
 */
import type { BinaryNode, WASocket } from 'baileys'
import { mergeAddresses, parseJid, toJid, type WhatsAppAddress } from '../jid.js'
import type { BlockChange, ConnectionEvent } from '../whatsapp.js'

export interface Account {
  /** The connection is open. */
  opened(me: WhatsAppAddress): void
  /** A `notification` stanza. */
  arrived(stanza: BinaryNode): void
  /** What Baileys believes our name to be. */
  named(name: string | undefined): void
  /** Rejects when WhatsApp refuses or does not answer, and when it does not say both number and LID of that person. */
  setBlocked(person: WhatsAppAddress, blocked: boolean): Promise<void>
}

export interface AccountOptions {
  readonly library: Pick<WASocket, 'query' | 'profilePictureUrl' | 'updateBlockStatus'>
  readonly tell: (event: ConnectionEvent) => void
}

const SERVER = '@s.whatsapp.net'

export function createAccount({ library, tell }: AccountOptions): Account {
  let toldName: string | undefined

  return {
    opened(me) {
      void tellPicture(me)
      void tellBlocked()
    },
    arrived(stanza) {
      const list = stanza.attrs.type === 'account_sync' ? childOf(stanza, 'blocklist') : undefined
      if (!list) return
      const changes = changesOf(list)
      // WhatsApp may only say that something has changed.
      if (changes.length === 0) void tellBlocked()
      else tell({ type: 'blocks', changes, complete: false })
    },
    named(name) {
      if (!name || name === toldName) return
      toldName = name
      tell({ type: 'profile', pushName: name })
    },
    setBlocked: (person, blocked) => library.updateBlockStatus(toJid(person), blocked ? 'block' : 'unblock'),
  }

  async function tellPicture(me: WhatsAppAddress): Promise<void> {
    try {
      const pictureUrl = await library.profilePictureUrl(toJid(me), 'image')
      if (pictureUrl) tell({ type: 'profile', pictureUrl })
    } catch (error) {
      // There is none, or nobody may see it.
      if ((error as { data?: unknown }).data === 404) tell({ type: 'profile', pictureUrl: null })
    }
  }

  async function tellBlocked(): Promise<void> {
    const question = { tag: 'iq', attrs: { xmlns: 'blocklist', to: SERVER, type: 'get' } }
    // Not by Baileys' own function, for which no answer is an empty list.
    const answer = (await library.query(question).catch(() => undefined)) as BinaryNode | undefined
    const list = answer && childOf(answer, 'list')
    if (list) tell({ type: 'blocks', changes: changesOf(list), complete: true })
  }
}

function changesOf({ content }: BinaryNode): BlockChange[] {
  if (!Array.isArray(content)) return []
  return content.flatMap(({ tag, attrs }) => {
    const person = mergeAddresses(parseJid(attrs.jid) ?? {}, parseJid(attrs.pn_jid))
    if (tag !== 'item' || !(person.waId || person.lid)) return []
    return [{ person, blocked: attrs.action !== 'unblock' }]
  })
}

function childOf({ content }: BinaryNode, tag: string): BinaryNode | undefined {
  return Array.isArray(content) ? content.find((child) => child.tag === tag) : undefined
}
