import type { Chat } from '../phone/chat.js'
import { composeMessage, type Draft, DraftError } from '../phone/compose.js'
import { writeMessage } from '../phone/write-message.js'
import type { Simulation } from '../simulation.js'
import { STATUS_JID } from '../wire/jid.js'
import type { Person } from '../world/world.js'
import { readDraft } from './read-draft.js'
import { BadInput, optionalText, phoneFrom } from './route.js'

/** A person says something on its phone; the id comes when it is on its way. */
export async function sendDraft(
  sim: Simulation,
  sending: { author: Person; chat: Chat; draft: Draft; id?: string | undefined },
): Promise<string> {
  const { author, chat, draft, id } = sending
  if (chat.kind === 'group' && !chat.group.members.has(author.phone)) {
    throw new DraftError(`${author.phone} is not a member of ${chat.group.id}`)
  }
  const content = composeMessage({ sim, author, chat, draft })
  return (await writeMessage(sim, { author, chat, content, id })).id
}

/** The body of a `send`: what, and to whom (`to`, `group` or `status`). */
export async function sendFromBody(sim: Simulation, author: Person, body: Record<string, unknown>): Promise<string> {
  const sending = { author, chat: readChat(sim, author, body), draft: readDraft(body), id: optionalText(body.id, 'id') }
  try {
    return await sendDraft(sim, sending)
  } catch (error) {
    throw error instanceof DraftError ? new BadInput(error.message) : error
  }
}

/** The chat a body names: `to`, `group` or `status`. */
export function readChat(sim: Simulation, author: Person, body: Record<string, unknown>): Chat {
  if (body.group !== undefined) {
    const group = sim.world.groups.find(String(body.group))
    if (!group) throw new BadInput(`there is no group ${String(body.group)}`, 404)
    return { kind: 'group', group }
  }
  if (body.status === true || body.to === STATUS_JID) {
    const audience =
      body.status === true && body.to !== undefined ? [findPerson(sim, body.to)] : everybodyBut(sim, author)
    return { kind: 'status', audience }
  }
  return { kind: 'direct', person: findPerson(sim, body.to) }
}

function everybodyBut(sim: Simulation, author: Person): Person[] {
  return [...sim.world.people.values()].filter((person) => person !== author)
}

/** Somebody the admin names by number. */
export function findPerson(sim: Simulation, phone: unknown, name = 'to'): Person {
  const person = sim.world.find(phoneFrom(phone, name))
  if (!person) throw new BadInput(`${String(phone)} is not on WhatsApp; create it with POST /admin/contacts`, 404)
  return person
}
