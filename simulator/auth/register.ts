import { createHash } from 'node:crypto'
import type { proto } from 'baileys'
import { endStream, streamError } from '../faults/break-connection.js'
import { announceDevice } from '../router/announce-device.js'
import type { Simulation } from '../simulation.js'
import type { Connection } from '../wire/connection.js'
import { hasValidSignature, prefixedPublicKey } from '../wire/curve.js'
import { lidJid, pnJid, SERVER_JID } from '../wire/jid.js'
import { type BinaryNode, bytesOf, child, el } from '../wire/node-codec.js'
import { type Companion, phoneFromName } from '../world/world.js'
import { createDeviceIdentity, isDeviceIdentitySigned } from './adv.js'
import { parseQr } from './qr.js'

const QR_REFS = 6

export type ScanResult = { readonly phone: string; readonly device: number; readonly lid: string }
export type ScanFailure = { readonly refused: string }

/** A client without credentials: it gets the refs its QR codes are made of, and waits for a phone. */
export function startRegistration(sim: Simulation, connection: Connection, payload: proto.ClientPayload) {
  const registration = payload.devicePairingData
  if (!registration || !isSignedPreKeyTrue(registration)) {
    sim.stats.refusedSignatures++
    return endStream(connection, el('failure', { reason: 400, location: 'sim' }))
  }
  connection.session.registration = registration
  connection.session.pushName = payload.pushName ?? ''
  connection.session.refs = Array.from({ length: QR_REFS }, (_, n) =>
    sim.seeded.bytes(`ref/${connection.id}/${n}`, 24).toString('base64url'),
  )
  const refs = connection.session.refs.map((ref) => el('ref', {}, Buffer.from(ref)))
  const id = sim.nextId('pair')
  connection.send(el('iq', { id, type: 'set', from: SERVER_JID, xmlns: 'md' }, [el('pair-device', {}, refs)]))
}

/** The phone's camera: finds the connection that shows this code and links it to the phone's account. */
export function scanQr(sim: Simulation, text: string, phone?: string): ScanResult | ScanFailure {
  const qr = parseQr(text)
  if (!qr) return { refused: 'this text is not a WhatsApp QR code' }
  const connection = [...sim.connections].find((open) => open.session.refs.includes(qr.ref))
  const registration = connection?.session.registration
  if (!connection || !registration) return { refused: 'no open connection shows this code; it may have expired' }
  if (!qr.identity.equals(Buffer.from(registration.eIdent ?? []))) {
    return { refused: 'the identity key in the code is not the one the client registered with' }
  }
  return linkCompanion(sim, connection, { ...qr, phone })
}

/** What the phone has learnt of a registering client, from its QR or through its code. */
export type Introduction = {
  readonly noiseKey: Buffer
  readonly identity: Buffer
  readonly advSecret: Buffer
  /** Without one the number is derived from the push name. */
  readonly phone: string | undefined
}

/** Links a registering client to the phone's account; the rest of the pairing goes on behind. */
export function linkCompanion(sim: Simulation, connection: Connection, introduction: Introduction): ScanResult {
  const { noiseKey, identity, advSecret, phone } = introduction
  const registration = connection.session.registration ?? {}
  const name = connection.session.pushName
  const account = sim.world.person(phone ?? phoneFromName(name || fingerprint(identity)), name || undefined)
  const companion = sim.world.addCompanion(account, {
    noiseKey,
    registrationId: Buffer.from(registration.eRegid ?? []).readUInt32BE(0),
    identity,
    signedPreKey: signedPreKeyOf(registration),
  })
  connection.session.refs = []
  connection.session.linkCode = null
  sim.inBackground(pair(sim, connection, companion, advSecret))
  return { phone: account.phone, device: companion.device, lid: account.lid }
}

async function pair(sim: Simulation, connection: Connection, companion: Companion, advSecret: Buffer): Promise<void> {
  const { person, device } = companion
  const answer = await connection.ask(pairSuccess(sim, companion, advSecret))
  if (!answer) return void person.companions.delete(device)
  const signedIdentity = bytesOf(child(child(answer, 'pair-device-sign'), 'device-identity'))
  const isSigned =
    signedIdentity.length > 0 &&
    isDeviceIdentitySigned({
      accountPublic: person.identity.public,
      companionIdentity: companion.identity,
      signedIdentity,
    })
  if (!isSigned) {
    person.companions.delete(device)
    sim.stats.refusedSignatures++
    return endStream(connection, streamError({ code: 401 }))
  }
  companion.signedIdentity = signedIdentity
  sim.stats.pairings++
  announceDevice(sim, companion, 'add')
  endStream(connection, streamError({ code: 515 }))
}

function pairSuccess(sim: Simulation, companion: Companion, advSecret: Buffer): BinaryNode {
  const { person, device, keyIndex, identity } = companion
  const deviceIdentity = createDeviceIdentity({
    account: person.identity,
    companionIdentity: identity,
    advSecret,
    keyIndex,
    rawId: sim.seeded.integer(`raw-id/${person.phone}`, 2 ** 31),
    timestamp: sim.seconds(),
  })
  const attrs = { id: sim.nextId('pair'), type: 'set', from: SERVER_JID, xmlns: 'md', t: sim.seconds() }
  return el('iq', attrs, [
    el('pair-success', {}, [
      el('device-identity', {}, deviceIdentity),
      el('device', { jid: pnJid(person.phone, device), lid: lidJid(person.lid, device) }),
      el('platform', { name: 'android' }),
    ]),
  ])
}

function signedPreKeyOf(registration: proto.ClientPayload.IDevicePairingRegistrationData) {
  return {
    id: Buffer.from(registration.eSkeyId ?? [0]).readUIntBE(0, registration.eSkeyId?.length ?? 1),
    publicKey: Buffer.from(registration.eSkeyVal ?? []),
    signature: Buffer.from(registration.eSkeySig ?? []),
  }
}

function isSignedPreKeyTrue(registration: proto.ClientPayload.IDevicePairingRegistrationData): boolean {
  const { publicKey, signature } = signedPreKeyOf(registration)
  return hasValidSignature(Buffer.from(registration.eIdent ?? []), prefixedPublicKey(publicKey), signature)
}

function fingerprint(key: Buffer): string {
  return createHash('sha256').update(key).digest('hex')
}
