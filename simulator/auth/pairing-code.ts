/**
 * Pairing by a code that is typed on the phone (`link_code_companion_reg`). The client wraps its ephemeral key with the code,
 * the phone answers with its own wrapped the same way, and what the client returns opens only under the key that both then
 * share: so a wrong code shows at the end, and on the phone alone.
 */
import { createCipheriv, createDecipheriv, hkdfSync, pbkdf2 } from 'node:crypto'
import { promisify } from 'node:util'
import type { IqAnswer } from '../iq/answer-iq.js'
import type { Simulation } from '../simulation.js'
import type { Connection } from '../wire/connection.js'
import { type KeyPair, keyPairFrom, sharedKey } from '../wire/curve.js'
import { parseJid, SERVER_JID } from '../wire/jid.js'
import { type BinaryNode, bytesOf, child, el } from '../wire/node-codec.js'
import { linkCompanion, type ScanFailure, type ScanResult } from './register.js'

export type LinkCode = {
  readonly phone: string
  readonly ref: Buffer
  readonly wrappedEphemeral: Buffer
  readonly noiseKey: Buffer
  /** What the phone made of the code that was typed last. */
  attempt: Attempt | null
}

type Attempt = {
  readonly ephemeral: KeyPair
  readonly companionEphemeral: Buffer
  /** The client has answered: with a bundle that opens under this attempt, or with one that does not. */
  readonly finish: (opened: Opened | null) => void
}

type Opened = { readonly identity: Buffer; readonly advSecret: Buffer }

const SALT = 32
const WRAP_IV = 16
const WRAPPED = SALT + WRAP_IV + 32
const BUNDLE_IV = 12
const TAG = 16
const ITERATIONS = 131_072
const FINISH_TIMEOUT_MS = 30_000

const REFUSED: IqAnswer = { error: 400, text: 'bad-request' }

/** What a client asks on its way to be linked by a code. */
export function answerLinkCode(sim: Simulation, connection: Connection, node: BinaryNode): IqAnswer {
  if (!connection.session.registration) return REFUSED
  if (node.attrs.stage === 'companion_hello') return takeHello(sim, connection, node)
  if (node.attrs.stage === 'companion_finish') return takeFinish(sim, connection, node)
  return REFUSED
}

function takeHello(sim: Simulation, { id, session }: Connection, node: BinaryNode): IqAnswer {
  const phone = parseJid(node.attrs.jid)?.user ?? ''
  const wrappedEphemeral = bytesOf(child(node, 'link_code_pairing_wrapped_companion_ephemeral_pub'))
  const noiseKey = bytesOf(child(node, 'companion_server_auth_key_pub'))
  if (!/^\d{5,15}$/.test(phone) || wrappedEphemeral.length !== WRAPPED || noiseKey.length !== 32) return REFUSED
  const ref = Buffer.from(sim.seeded.bytes(`link-code/${id}/${sim.nextId('link-code')}`, 16).toString('base64url'))
  session.linkCode = { phone, ref, wrappedEphemeral, noiseKey, attempt: null }
  const given = el('link_code_companion_reg', { stage: 'companion_hello' }, [el('link_code_pairing_ref', {}, ref)])
  return { content: [given] }
}

/** The owner types a code. Resolves when the client has answered to it. */
export async function enterCode(sim: Simulation, phone: string, typed: string): Promise<ScanResult | ScanFailure> {
  const code = typed.replace(/[\s-]/g, '').toUpperCase()
  const connection = [...sim.connections].reverse().find(({ session }) => session.linkCode?.phone === phone)
  const linkCode = connection?.session.linkCode
  if (!connection || !linkCode) return { refused: 'no client waits for a code for this number' }
  const { wrappedEphemeral, noiseKey } = linkCode
  const label = `link-code/${phone}/${sim.nextId('typed')}`
  const ephemeral = keyPairFrom(sim.seeded.bytes(label, 32))
  const companionEphemeral = await unwrap(code, wrappedEphemeral)
  const wrapped = await wrap(code, ephemeral.public, sim.seeded.bytes(`${label}/wrapped`, SALT + WRAP_IV))
  const opened = new Promise<Opened | null>((finish) => {
    linkCode.attempt = { ephemeral, companionEphemeral, finish }
    sim.later(FINISH_TIMEOUT_MS, () => finish(null))
  })
  connection.send(primaryHello(sim, linkCode, wrapped))
  const introduction = await opened
  if (!introduction) return { refused: 'this is not the code that the client shows' }
  return linkCompanion(sim, connection, { ...introduction, noiseKey, phone })
}

function primaryHello(sim: Simulation, { phone, ref }: LinkCode, wrapped: Buffer): BinaryNode {
  const attrs = { from: SERVER_JID, type: 'link_code_companion_reg', id: sim.nextId('link-code'), t: sim.seconds() }
  return el('notification', attrs, [
    el('link_code_companion_reg', { stage: 'primary_hello' }, [
      el('link_code_pairing_wrapped_primary_ephemeral_pub', {}, wrapped),
      el('primary_identity_pub', {}, Buffer.from(sim.world.person(phone).identity.public)),
      el('link_code_pairing_ref', {}, ref),
    ]),
  ])
}

function takeFinish(sim: Simulation, { session }: Connection, node: BinaryNode): IqAnswer {
  const { linkCode } = session
  const attempt = linkCode?.attempt
  if (!attempt || !bytesOf(child(node, 'link_code_pairing_ref')).equals(linkCode.ref)) return REFUSED
  linkCode.attempt = null
  const bundle = bytesOf(child(node, 'link_code_pairing_wrapped_key_bundle'))
  const identity = bytesOf(child(node, 'companion_identity_public'))
  const phoneIdentity = sim.world.person(linkCode.phone).identity
  const opened = open(attempt, phoneIdentity, bundle)
  const isTrue = opened?.identity.equals(identity) === true
  if (!isTrue) {
    attempt.finish(null)
    return REFUSED
  }
  return { content: [], afterwards: () => attempt.finish(opened) }
}

function open({ ephemeral, companionEphemeral }: Attempt, phoneIdentity: KeyPair, bundle: Buffer): Opened | null {
  const shared = sharedKey(ephemeral.private, companionEphemeral)
  const salt = bundle.subarray(0, SALT)
  const key = derive(shared, salt, 'link_code_pairing_key_bundle_encryption_key')
  const plain = openGcm(key, bundle.subarray(SALT, SALT + BUNDLE_IV), bundle.subarray(SALT + BUNDLE_IV))
  if (plain?.length !== 96 || !plain.subarray(32, 64).equals(phoneIdentity.public)) return null
  const identity = plain.subarray(0, 32)
  const secret = Buffer.concat([shared, sharedKey(phoneIdentity.private, identity), plain.subarray(64)])
  return { identity, advSecret: derive(secret, Buffer.alloc(0), 'adv_secret') }
}

async function unwrap(code: string, wrapped: Buffer): Promise<Buffer> {
  const key = await codeKey(code, wrapped.subarray(0, SALT))
  const cipher = createDecipheriv('aes-256-ctr', key, wrapped.subarray(SALT, SALT + WRAP_IV))
  return Buffer.concat([cipher.update(wrapped.subarray(SALT + WRAP_IV)), cipher.final()])
}

async function wrap(code: string, publicKey: Uint8Array, saltAndIv: Buffer): Promise<Buffer> {
  const key = await codeKey(code, saltAndIv.subarray(0, SALT))
  const cipher = createCipheriv('aes-256-ctr', key, saltAndIv.subarray(SALT))
  return Buffer.concat([saltAndIv, cipher.update(publicKey), cipher.final()])
}

const codeKey = (code: string, salt: Buffer): Promise<Buffer> => promisify(pbkdf2)(code, salt, ITERATIONS, 32, 'sha256')

const derive = (secret: Buffer, salt: Buffer, info: string): Buffer =>
  Buffer.from(hkdfSync('sha256', secret, salt, info, 32))

function openGcm(key: Buffer, iv: Buffer, sealed: Buffer): Buffer | null {
  if (sealed.length <= TAG) return null
  const decipher = createDecipheriv('aes-256-gcm', key, iv)
  decipher.setAuthTag(sealed.subarray(sealed.length - TAG))
  try {
    return Buffer.concat([decipher.update(sealed.subarray(0, -TAG)), decipher.final()])
  } catch {
    return null
  }
}
