import { handsetOf } from '../phone/handset-of.js'
import { drawMessageId, writeMessage } from '../phone/write-message.js'
import type { Simulation } from '../simulation.js'
import type { Habits, Person } from '../world/world.js'

export type NewContacts = {
  phones?: readonly string[]
  count?: number
  prefix?: string | undefined
  name?: string | undefined
  habits?: { [Name in keyof Habits]?: Habits[Name] | undefined }
}

/** Puts numbers on WhatsApp. A number that is there already keeps its keys and takes the new habits. */
export function createContacts(sim: Simulation, wanted: NewContacts): Person[] {
  const phones = [...(wanted.phones ?? []), ...sim.world.freePhones(wanted.count ?? 0, wanted.prefix)]
  return phones.map((phone) => {
    const person = sim.world.person(phone, wanted.name)
    for (const [name, value] of Object.entries(wanted.habits ?? {})) {
      if (value !== undefined) Object.assign(person.habits, { [name]: value })
    }
    return person
  })
}

export type Texts = {
  account: Person
  text: string
  id?: string | undefined
  count?: number | undefined
  ratePerSecond?: number | undefined
}

/**
 * Sends one text, or `count` of them numbered ` #1`, ` #2` … (the number goes on within the chat). The ids are known at
 * once; with a rate the sending goes on in the background.
 */
export async function sendTexts(sim: Simulation, author: Person, texts: Texts): Promise<string[]> {
  const { account, text, count, ratePerSecond } = texts
  const write = (text: string, id: string | undefined) =>
    writeMessage(sim, { author, chat: { kind: 'direct', person: account }, content: { conversation: text }, id })
  if (count === undefined) return [(await write(text, texts.id)).id]

  const { numbering } = handsetOf(sim, author)
  const first = (numbering.get(account.phone) ?? 0) + 1
  numbering.set(account.phone, first + count - 1)
  const messages = Array.from({ length: count }, (_, n) => ({
    id: drawMessageId(sim, author),
    text: `${text} #${first + n}`,
  }))
  const send = ({ id, text }: { id: string; text: string }) => write(text, id)
  if (ratePerSecond === undefined) await Promise.all(messages.map(send))
  else
    for (const [n, message] of messages.entries())
      sim.later((n * 1000) / ratePerSecond, () => sim.inBackground(send(message)))
  return messages.map(({ id }) => id)
}
