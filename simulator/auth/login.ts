import type { proto } from 'baileys'
import { breakConnection, endStream, streamError } from '../faults/break-connection.js'
import type { Simulation } from '../simulation.js'
import type { Connection } from '../wire/connection.js'
import { lidJid } from '../wire/jid.js'
import { el } from '../wire/node-codec.js'
import type { Companion } from '../world/world.js'
import { startRegistration } from './register.js'

/** The client has shown who it is: registration, login, or a refusal. */
export function receiveLogin(sim: Simulation, connection: Connection, payload: proto.ClientPayload, key: Buffer) {
  const phone = payload.username ? String(payload.username) : undefined
  for (const fault of sim.faults.take('login', { account: phone })) {
    if (fault.action === 'login-failure') return refuse(connection, fault.reason ?? 403)
    breakConnection(sim, connection, fault)
    if (fault.action !== 'unknown-stanza') return
  }
  if (payload.devicePairingData) return startRegistration(sim, connection, payload)

  const person = sim.world.find(phone ?? '')
  const companion = person?.companions.get(payload.device ?? -1)
  if (!companion?.signedIdentity || !companion.noiseKey.equals(key)) return refuse(connection, 401)
  if (payload.pushName) companion.person.name = payload.pushName
  bind(connection, companion)
  sim.stats.logins++
  companion.person.counts.logins++
  companion.person.counts.connections++
  const { lid } = companion.person
  connection.send(el('success', { t: sim.seconds(), lid: lidJid(lid, companion.device), location: 'sim' }))
}

/** The older connection is detached before it is told, so that its end cannot unbind the new one. */
function bind(connection: Connection, companion: Companion): void {
  const older = companion.connection
  companion.connection = connection
  connection.companion = companion
  if (!older) return
  older.companion = null
  endStream(older, streamError({}, el('conflict', { type: 'replaced' })))
}

function refuse(connection: Connection, reason: number): void {
  endStream(connection, el('failure', { reason, location: 'sim' }))
}
