import type { Simulation } from '../simulation.js'
import { addressingOf, lidJid, parseJid, pnJid } from '../wire/jid.js'
import { type BinaryNode, child, children, el, textOf } from '../wire/node-codec.js'
import type { Person } from '../world/world.js'
import type { IqAnswer, IqQuestion } from './answer-iq.js'

/** Who is on WhatsApp, under which lid, with which devices. */
export function answerUsync({ sim, node }: IqQuestion): IqAnswer {
  const usync = child(node, 'usync')
  const protocols = children(child(usync, 'query')).map(({ tag }) => tag)
  const users = children(child(usync, 'list'), 'user').flatMap((user) => answerUser(sim, user, protocols))
  return { content: [el('usync', { ...usync?.attrs }, [el('list', {}, users)])] }
}

function answerUser(sim: Simulation, user: BinaryNode, protocols: string[]): BinaryNode[] {
  const phone = textOf(child(user, 'contact')).replace(/\D/g, '')
  // Asked by number, the server answers with the number as it knows it: it may lack a ninth digit.
  const called = phone ? sim.world.findByAnySpelling(phone) : undefined
  const asked = user.attrs.jid ?? (phone ? pnJid(called?.phone ?? phone) : '')
  const jid = parseJid(asked)
  if (!jid) return []
  const person = called ?? sim.world.findByJidUser(jid.user)
  const answers = protocols.flatMap((protocol) => answerProtocol({ sim, person, asked, protocol, phone }))
  return [el('user', { jid: asked }, answers)]
}

type Protocol = { sim: Simulation; person: Person | undefined; asked: string; protocol: string; phone: string }

function answerProtocol({ sim, person, asked, protocol, phone }: Protocol): BinaryNode[] {
  // The server says again which number it was asked for: the jid may be another spelling of it.
  if (protocol === 'contact') return [el('contact', { type: person ? 'in' : 'out' }, phone ? `+${phone}` : undefined)]
  if (!person) return []
  switch (protocol) {
    case 'devices':
      return [devices(sim, person)]
    case 'lid':
      // Asked by lid there is nothing to map; the client would store a lid as the lid of a lid.
      return addressingOf(asked) === 'lid' ? [] : [el('lid', { val: lidJid(person.lid) })]
    case 'username':
      return person.habits.username ? [el('username', {}, person.habits.username)] : []
    case 'status':
      return [el('status', { t: sim.seconds() }, 'Hey there! I am using WhatsApp.')]
    case 'disappearing_mode':
      return [el('disappearing_mode', { duration: 0, t: sim.seconds() })]
    default:
      return []
  }
}

function devices(sim: Simulation, person: Person): BinaryNode {
  const linked = [...person.companions.values()]
    .filter(({ signedIdentity }) => signedIdentity)
    .map(({ device, keyIndex }) => el('device', { id: device, 'key-index': keyIndex }))
  return el('devices', {}, [
    el('device-list', {}, [el('device', { id: 0 }), ...linked]),
    el('key-index-list', { ts: sim.seconds() }),
  ])
}
