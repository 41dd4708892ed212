import type { Simulation } from '../simulation.js'
import { alongJid, jidIn, otherAddressing, pnJid } from '../wire/jid.js'
import { el } from '../wire/node-codec.js'
import { isTokenDue, mintToken } from '../world/privacy-tokens.js'
import type { Person } from '../world/world.js'
import { deliver } from './deliver.js'

/** A client or phone gives somebody a token to write to its owner; the companions of that somebody are told. */
export function giveToken(sim: Simulation, giver: Person, holder: Person, at = sim.seconds()): void {
  if (giver === holder || holder.blocked.has(giver.phone)) return
  const token = mintToken(sim.seeded, giver, holder, at)
  const { addressing } = giver.habits
  const other = otherAddressing(addressing)
  for (const companion of holder.companions.values()) {
    const attrs = {
      from: jidIn(addressing, giver),
      [`sender_${other}`]: alongJid(other, giver),
      id: sim.nextId('token'),
      type: 'privacy_token',
      t: sim.seconds(),
    }
    // The jid is the one who is told: clients that take it for the giver's are wrong.
    const told = el(
      'token',
      { jid: pnJid(holder.phone, companion.device), type: 'trusted_contact', t: at },
      token.bytes,
    )
    deliver(sim, companion, el('notification', attrs, [el('tokens', {}, [told])]))
  }
}

/** A phone gives one behind its message, when that is the first of the week. */
export function giveTokenIfDue(sim: Simulation, giver: Person, holder: Person): void {
  if (giver.habits.givesTokens && isTokenDue(giver, holder, sim.seconds())) giveToken(sim, giver, holder)
}
