import type { Simulation } from '../simulation.js'
import { SERVER_JID } from '../wire/jid.js'
import { el } from '../wire/node-codec.js'
import type { PreKeyBundle } from '../world/prekeys.js'
import type { Companion, Person } from '../world/world.js'
import { handsetOf } from './handset-of.js'

const LOW_ON_PRE_KEYS = 5

/** What the server hands out about a device; null when there is no such device. Spends a one-time prekey. */
export function takeBundle(sim: Simulation, person: Person, device: number): PreKeyBundle | null {
  if (device === 0) return handsetOf(sim, person).device.bundle()
  const companion = person.companions.get(device)
  return companion ? takeCompanionBundle(sim, companion) : null
}

export function takeCompanionBundle(sim: Simulation, companion: Companion): PreKeyBundle {
  const preKey = companion.preKeys.shift() ?? null
  if (companion.preKeys.length === LOW_ON_PRE_KEYS - 1) askForPreKeys(sim, companion)
  return {
    registrationId: companion.registrationId,
    identity: companion.identity,
    signedPreKey: companion.signedPreKey,
    preKey,
    deviceIdentity: companion.signedIdentity,
  }
}

function askForPreKeys(sim: Simulation, companion: Companion): void {
  if (!companion.connection?.session.isActive) return
  const attrs = { id: sim.nextId('prekeys'), type: 'encrypt', from: SERVER_JID, t: sim.seconds() }
  companion.connection.send(el('notification', attrs, [el('count', { value: companion.preKeys.length })]))
}
