/** What the holder does in a chat without writing: read marks and typing. */
import type { ChatId, MessageId } from '../../kernel/ids.js'
import type { Database } from '../../platform/database/database.js'
import type { CommandArgs } from '../instances/errand.js'
import type { Errand, SessionAttachment, SessionContext } from '../instances/session-attachment.js'
import { findChatAddress, findUnread, saveRead } from './chat-store.js'

/** One stanza of read marks at a time. */
const MARKS_AT_ONCE = 500

export function createChatErrands({ db }: { readonly db: Database }): SessionAttachment {
  const read: Errand = async (session, args) => {
    const { chatId, upTo } = args as { chatId: ChatId; upTo: MessageId }
    const to = await addressOf(session, chatId)
    let count = 0
    for (;;) {
      const unread = await findUnread(db, session, chatId, { upTo, limit: MARKS_AT_ONCE })
      const last = unread.at(-1)
      if (!last) return { count }
      await session.connection.markRead(to, unread)
      await saveRead(db, session, chatId, last.id)
      count += unread.length
    }
  }

  const typing: Errand = async (session, args: CommandArgs) => {
    const { chatId, activity } = args as { chatId: ChatId; activity: 'typing' | 'recording' | 'paused' }
    await session.connection.showActivity(await addressOf(session, chatId), activity)
    return {}
  }

  const presence: Errand = async ({ connection }, { presence: shown }) => {
    await connection.showPresence(shown === 'available' ? 'available' : 'unavailable')
    return {}
  }

  return { errands: { chat_read: read, chat_typing: typing, presence } }

  async function addressOf(session: SessionContext, chatId: ChatId) {
    const address = await findChatAddress(db, session, chatId)
    if (!address) throw new Error('the chat is gone')
    return address
  }
}
