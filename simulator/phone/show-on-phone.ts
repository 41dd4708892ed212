import type { Simulation } from '../simulation.js'
import type { Person } from '../world/world.js'
import { jidOfChat } from './chat.js'
import type { SentMessage } from './handset.js'
import { handsetOf } from './handset-of.js'
import type { Inbox, Shown } from './inbox.js'
import { openContent } from './open-content.js'

/**
 * What one simulated phone wrote appears on another. No client is part of it, so nothing is encrypted between them; a
 * benchmark's phones (which decrypt less than everything) are spared it.
 */
export function showOnPhone(sim: Simulation, reader: Person, author: Person, message: SentMessage): void {
  if (reader === author || sim.options.decrypt !== 'all') return
  const { chat } = message
  const inbox = handsetOf(sim, reader).inbox
  show(sim, reader, inbox, {
    id: message.id,
    from: author.phone,
    group: chat.kind === 'direct' ? null : jidOfChat(chat),
    at: sim.now(),
    device: 0,
    address: jidOfChat(chat, author),
    content: message.content,
  })
}

/** Puts a message on the screen, and opens what it carries. True when it was new. */
export function show(sim: Simulation, reader: Person, inbox: Inbox, shown: Shown): boolean {
  const message = inbox.add(shown)
  if (message && shown.content) openContent(sim, reader, message, shown.content)
  return message !== null
}
