import { giveReceipt } from '../phone/read-message.js'
import { PRESENCE_STATES, type PresenceState, showPresence } from '../router/presence.js'
import type { Simulation } from '../simulation.js'
import { findAccount } from './account-routes.js'
import { createContacts, sendTexts } from './contacts.js'
import { textsFrom } from './read-draft.js'
import { BadInput, oneOf, optionalNumber, optionalText, phoneFrom, type Route, requiredText } from './route.js'
import { sendFromBody } from './send-draft.js'
import { contactView, inboxView, sentView } from './views.js'

const RECEIPTS = ['none', 'delivered', 'read'] as const
const GIVEN_RECEIPTS = ['delivered', 'read', 'played'] as const
const ADDRESSING = ['pn', 'lid'] as const
const MANY = { min: 1, max: 200_000 }

export function contactRoutes(sim: Simulation): Route[] {
  const find = (phone: string | undefined) => {
    const person = sim.world.find(phoneFrom(phone))
    if (!person) throw new BadInput(`${phone} is not on WhatsApp; create it with POST /admin/contacts`, 404)
    return person
  }
  return [
    {
      method: 'POST',
      path: '/admin/contacts',
      handle({ json }) {
        const body = json()
        const contacts = createContacts(sim, {
          phones: Array.isArray(body.phones) ? body.phones.map((phone) => phoneFrom(phone, 'phones')) : [],
          count: optionalNumber(body.count, 'count', { min: 0, max: 1_000_000 }) ?? 0,
          prefix: optionalText(body.seedPrefix, 'seedPrefix'),
          name: optionalText(body.name, 'name'),
          habits: {
            autoReply: body.autoReply === false ? false : optionalText(body.autoReply, 'autoReply'),
            receipts: oneOf(body.receipts, 'receipts', RECEIPTS),
            readDelayMs: optionalNumber(body.readDelayMs, 'readDelayMs', { min: 0, max: 3_600_000 }),
            addressing: oneOf(body.addressing, 'addressing', ADDRESSING),
            hidesNumber: typeof body.hidesNumber === 'boolean' ? body.hidesNumber : undefined,
            username: body.username === null ? null : optionalText(body.username, 'username'),
            refusesGroups: typeof body.refusesGroups === 'boolean' ? body.refusesGroups : undefined,
            givesTokens: typeof body.givesTokens === 'boolean' ? body.givesTokens : undefined,
          },
        })
        return { body: { contacts: contacts.map(contactView) } }
      },
    },
    {
      method: 'GET',
      path: '/admin/contacts',
      handle: () => ({
        body: { contacts: [...sim.world.people.values()].filter(({ isAccount }) => !isAccount).map(contactView) },
      }),
    },
    {
      method: 'GET',
      path: '/admin/contacts/:phone/inbox',
      handle({ params, query }) {
        const limit = optionalNumber(query.get('limit'), 'limit', MANY)
        const after = optionalNumber(query.get('after'), 'after', { min: 0, max: Number.MAX_SAFE_INTEGER })
        return { body: inboxView(sim.world, find(params.phone), { limit, after }) }
      },
    },
    {
      method: 'GET',
      path: '/admin/contacts/:phone/sent',
      handle: ({ params }) => ({ body: { messages: sentView(find(params.phone)) } }),
    },
    {
      method: 'POST',
      path: '/admin/contacts/:phone/send',
      async handle({ params, json }) {
        const body = json()
        const author = find(params.phone)
        if (body.count === undefined) {
          const id = await sendFromBody(sim, author, body)
          return { body: { id, ids: [id] } }
        }
        const ids = await sendTexts(sim, author, {
          account: findAccount(sim, phoneFrom(body.to, 'to')),
          text: requiredText(body.text, 'text'),
          count: optionalNumber(body.count, 'count', MANY),
          ratePerSecond: optionalNumber(body.ratePerSecond, 'ratePerSecond', { min: 0.01, max: 100_000 }),
        })
        return { body: { ids } }
      },
    },
    {
      method: 'POST',
      path: '/admin/contacts/:phone/receipts',
      handle({ params, json }) {
        const body = json()
        const reader = find(params.phone)
        const type = oneOf(body.type, 'type', GIVEN_RECEIPTS)
        if (!type) throw new BadInput(`"type" must be one of ${GIVEN_RECEIPTS.join(', ')}`)
        const ids = textsFrom(body.ids, 'ids')
        const missing = ids.filter((id) => !giveReceipt(sim, reader, id, type))
        if (missing.length > 0) throw new BadInput(`no client's message has the id ${missing.join(', ')}`, 404)
        return { body: { ids, type } }
      },
    },
    {
      method: 'POST',
      path: '/admin/contacts/:phone/presence',
      handle({ params, json }) {
        const body = json()
        const state = oneOf(body.state, 'state', PRESENCE_STATES) as PresenceState | undefined
        if (!state) throw new BadInput('"state" is missing')
        const group = body.group === undefined ? undefined : sim.world.groups.find(String(body.group))
        if (body.group !== undefined && !group) throw new BadInput(`there is no group ${String(body.group)}`, 404)
        showPresence(sim, find(params.phone), group ?? findAccount(sim, phoneFrom(body.to, 'to')), state)
        return { body: { shown: state } }
      },
    },
  ]
}
