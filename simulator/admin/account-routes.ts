import { enterCode } from '../auth/pairing-code.js'
import { scanQr } from '../auth/register.js'
import { removeCompanion } from '../faults/break-connection.js'
import { setBlocked } from '../iq/blocklist.js'
import type { Simulation } from '../simulation.js'
import type { Companion, Person } from '../world/world.js'
import { BadInput, oneOf, optionalNumber, optionalText, phoneFrom, type Route, requiredText } from './route.js'
import { sendFromBody } from './send-draft.js'
import { inboxView } from './views.js'

export function accountRoutes(sim: Simulation): Route[] {
  return [
    {
      method: 'POST',
      path: '/admin/mock-phone/scan-qr',
      handle({ text, query }) {
        const wanted = query.get('phone')
        const result = scanQr(sim, text, wanted ? phoneFrom(wanted) : undefined)
        if ('refused' in result) throw new BadInput(result.refused)
        return { body: result }
      },
    },
    {
      method: 'POST',
      path: '/admin/mock-phone/enter-code',
      async handle({ json }) {
        const { phone, code } = json()
        const result = await enterCode(sim, phoneFrom(phone), requiredText(code, 'code'))
        if ('refused' in result) throw new BadInput(result.refused)
        return { body: result }
      },
    },
    {
      method: 'GET',
      path: '/admin/accounts',
      handle: () => ({ body: { accounts: [...sim.world.people.values()].filter(isAccount).map(accountView) } }),
    },
    {
      method: 'GET',
      path: '/admin/accounts/:phone',
      handle: ({ params }) => ({ body: accountView(findAccount(sim, params.phone)) }),
    },
    {
      method: 'POST',
      path: '/admin/accounts/:phone/send',
      async handle({ params, json }) {
        const id = await sendFromBody(sim, findAccount(sim, params.phone), json())
        return { body: { id, ids: [id] } }
      },
    },
    {
      method: 'GET',
      path: '/admin/accounts/:phone/inbox',
      handle({ params, query }) {
        const account = findAccount(sim, params.phone)
        const limit = optionalNumber(query.get('limit'), 'limit', { min: 1, max: 200_000 })
        const after = optionalNumber(query.get('after'), 'after', { min: 0, max: Number.MAX_SAFE_INTEGER })
        const which = oneOf(query.get('of'), 'of', ['inbox', 'copies'] as const)
        return { body: inboxView(sim.world, account, { limit, after }, which) }
      },
    },
    {
      method: 'POST',
      path: '/admin/accounts/:phone/profile',
      handle({ params, json }) {
        const account = findAccount(sim, params.phone)
        const { name, picture } = json()
        account.name = optionalText(name, 'name') ?? account.name
        if (picture !== undefined) account.picture = optionalText(picture, 'picture') ?? null
        return { body: accountView(account) }
      },
    },
    {
      method: 'POST',
      path: '/admin/accounts/:phone/block',
      handle({ params, json }) {
        const { contact, blocked = true } = json()
        if (typeof blocked !== 'boolean') throw new BadInput('"blocked" must be true or false')
        const other = sim.world.find(phoneFrom(contact, 'contact'))
        if (!other) throw new BadInput(`${String(contact)} is not on WhatsApp`, 404)
        const account = findAccount(sim, params.phone)
        setBlocked(sim, account, other, blocked)
        return { body: accountView(account) }
      },
    },
    {
      method: 'POST',
      path: '/admin/accounts/:phone/restrict',
      handle({ params, json }) {
        const account = findAccount(sim, params.phone)
        const seconds = optionalNumber(json().seconds, 'seconds', { min: 0, max: 31_536_000 }) ?? 3_600
        account.restrictedUntil = sim.now() + seconds * 1_000
        return { body: accountView(account) }
      },
    },
    {
      method: 'POST',
      path: '/admin/accounts/:phone/logout',
      handle({ params, query }) {
        const account = findAccount(sim, params.phone)
        const device = optionalNumber(query.get('device'), 'device', { min: 1, max: 999 })
        const removed = [...account.companions.values()].filter(
          (linked) => device === undefined || linked.device === device,
        )
        for (const companion of removed) removeCompanion(sim, companion)
        return { body: { removed: removed.map((companion) => companion.device) } }
      },
    },
  ]
}

export function findAccount(sim: Simulation, phone: string | undefined): Person {
  const person = sim.world.find(phoneFrom(phone))
  if (!person?.isAccount) throw new BadInput(`${phone} has never scanned a QR code`, 404)
  return person
}

function isAccount(person: Person): boolean {
  return person.isAccount
}

function accountView(account: Person) {
  return {
    phone: account.phone,
    lid: account.lid,
    name: account.name,
    picture: account.picture,
    restrictedUntil: account.restrictedUntil || null,
    blocked: [...account.blocked],
    online: [...account.companions.values()].some(isOnline),
    connections: account.counts.connections,
    logins: account.counts.logins,
    companions: [...account.companions.values()].map(companionView),
    copies: account.handset?.copies.counts ?? null,
  }
}

function companionView(companion: Companion) {
  return {
    device: companion.device,
    online: isOnline(companion),
    active: companion.connection?.session.isActive ?? false,
    preKeys: companion.preKeys.length,
    queued: companion.queue.size,
  }
}

function isOnline({ connection }: Companion): boolean {
  return connection?.isOpen === true
}
