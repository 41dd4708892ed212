/** What one does in a chat without writing: read marks, typing. */
import type { WASocket } from 'baileys'
import { toJid, type WhatsAppAddress } from '../jid.js'
import type { ChatActivity, ReadMark } from '../whatsapp.js'

/** In groups a read mark names the author, by the address that the group gives him. */
export async function markRead(library: WASocket, chat: WhatsAppAddress, marks: readonly ReadMark[]): Promise<void> {
  const remoteJid = toJid(chat)
  await library.readMessages(
    marks.map(({ whatsappId, author }) => {
      const { lid } = author ?? {}
      const participant = author && toJid(lid ? { lid } : author)
      return { remoteJid, id: whatsappId, fromMe: false, ...(chat.groupJid && participant ? { participant } : {}) }
    }),
  )
}

const PRESENCE = { typing: 'composing', recording: 'recording', paused: 'paused' } as const

export async function showActivity(library: WASocket, chat: WhatsAppAddress, activity: ChatActivity): Promise<void> {
  await library.sendPresenceUpdate(PRESENCE[activity], toJid(chat))
}
