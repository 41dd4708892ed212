import { type AppStateAction, readAppState, renameContact, writeAppState } from '../phone/app-state.js'
import { drawMessageId } from '../phone/write-message.js'
import type { Simulation } from '../simulation.js'
import { COLLECTIONS } from '../world/app-state.js'
import type { Person } from '../world/world.js'
import { findAccount } from './account-routes.js'
import { textsFrom } from './read-draft.js'
import { BadInput, oneOf, optionalNumber, phoneFrom, type Route, requiredText } from './route.js'
import { findPerson, readChat } from './send-draft.js'

const MINUTE = 60
const MANY = { min: 1, max: 100_000 }

/** What a phone knows from before, and what it shares with its companions: history and app state. */
export function historyRoutes(sim: Simulation): Route[] {
  return [
    {
      method: 'POST',
      path: '/admin/history',
      handle({ json }) {
        const body = json()
        const owner = sim.world.person(phoneFrom(body.account, 'account'))
        const chat = readChat(sim, owner, body)
        const people =
          chat.kind === 'direct' ? [chat.person] : [...sim.world.people.values()].filter((one) => one !== owner)
        const author = body.from === undefined ? people[0] : findPerson(sim, body.from, 'from')
        if (!author) throw new BadInput('nobody else is there to write')
        return { body: { ids: addPast(sim, { owner, author, chat, ...readPast(body) }) } }
      },
    },
    {
      method: 'POST',
      path: '/admin/accounts/:phone/app-state',
      async handle({ params, json }) {
        const body = json()
        const account = findAccount(sim, params.phone)
        if (body.contact === undefined)
          return { body: { version: await writeAppState(sim, account, readAction(body)) } }
        const contact = findPerson(sim, body.contact, 'contact')
        return { body: { version: await renameContact(sim, account, contact, requiredText(body.name, 'name')) } }
      },
    },
    {
      method: 'GET',
      path: '/admin/accounts/:phone/app-state',
      async handle({ params }) {
        const account = findAccount(sim, params.phone)
        const read = COLLECTIONS.map(async (name) => [name, await readAppState(sim, account, name)] as const)
        return { body: { collections: Object.fromEntries(await Promise.all(read)) } }
      },
    },
  ]
}

type Past = {
  owner: Person
  author: Person
  chat: ReturnType<typeof readChat>
  texts: string[]
  fromMe: boolean | null
}

/** One a minute, the last of them a minute ago; without `fromMe` the two take turns. */
function addPast(sim: Simulation, { owner, author, chat, texts, fromMe }: Past): string[] {
  return texts.map((text, n) => {
    const id = drawMessageId(sim, owner)
    const at = sim.seconds() - (texts.length - n) * MINUTE
    const isOwn = fromMe ?? n % 2 === 1
    sim.historyOf(owner).push({ id, chat, author: isOwn ? owner : author, content: { conversation: text }, at })
    return id
  })
}

function readPast(body: Record<string, unknown>): { texts: string[]; fromMe: boolean | null } {
  const count = optionalNumber(body.count, 'count', MANY) ?? 0
  const counted = Array.from({ length: count }, (_, n) => `past #${n + 1}`)
  const texts = body.texts === undefined ? counted : textsFrom(body.texts, 'texts')
  if (texts.length === 0) throw new BadInput('a history needs "texts" or a "count"')
  return { texts, fromMe: typeof body.fromMe === 'boolean' ? body.fromMe : null }
}

function readAction(body: Record<string, unknown>): AppStateAction {
  const collection = oneOf(body.collection, 'collection', COLLECTIONS)
  if (!collection) throw new BadInput(`"collection" must be one of ${COLLECTIONS.join(', ')}`)
  if (typeof body.action !== 'object' || body.action === null) throw new BadInput('"action" must be an object')
  const apiVersion = optionalNumber(body.apiVersion, 'apiVersion', { min: 0, max: 99 }) ?? 2
  return { collection, index: textsFrom(body.index, 'index'), action: body.action, apiVersion }
}
