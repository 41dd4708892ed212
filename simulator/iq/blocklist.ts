import { handOver } from '../router/hand-over.js'
import type { Simulation } from '../simulation.js'
import { lidJid, parseJid, pnJid } from '../wire/jid.js'
import { el } from '../wire/node-codec.js'
import type { Companion, Person } from '../world/world.js'
import type { IqAnswer, IqQuestion } from './answer-iq.js'

/** Whom an account has blocked: the whole list, or one more, or one less. */
export function answerBlocklist({ sim, companion, type, asked }: IqQuestion): IqAnswer {
  if (type === 'get')
    return { content: [el('list', { addressing_mode: 'lid', dhash: 'sim' }, itemsOf(sim, companion.person))] }
  const { action, jid, pn_jid: pn } = asked?.attrs ?? {}
  const other = sim.world.findByJidUser(parseJid(jid)?.user ?? '')
  const isComplete = action === 'unblock' || (action === 'block' && pn !== undefined)
  if (asked?.tag !== 'item' || !other || !isComplete) return { error: 400, text: 'bad-request' }
  return { content: [], afterwards: () => setBlocked(sim, companion.person, other, action === 'block', companion) }
}

/** The owner, or one of its companions, blocks somebody: all its other devices are told. */
export function setBlocked(sim: Simulation, owner: Person, other: Person, blocked: boolean, by?: Companion): void {
  if (blocked) owner.blocked.add(other.phone)
  else owner.blocked.delete(other.phone)
  const item = el('item', { jid: lidJid(other.lid), pn_jid: pnJid(other.phone), action: blocked ? 'block' : 'unblock' })
  for (const companion of owner.companions.values()) {
    if (companion === by) continue
    const attrs = { from: pnJid(owner.phone), id: sim.nextId('blocklist'), type: 'account_sync', t: sim.seconds() }
    handOver(sim, companion, el('notification', attrs, [el('blocklist', { dhash: 'sim' }, [item])]))
  }
}

function itemsOf(sim: Simulation, owner: Person) {
  return [...owner.blocked].flatMap((phone) => {
    const other = sim.world.find(phone)
    return other ? [el('item', { jid: lidJid(other.lid), pn_jid: pnJid(phone) })] : []
  })
}
